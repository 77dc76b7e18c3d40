//! Which text comes when.

use super::super::{Bucket, Wording};
use super::*;

fn sample(captions: &[&str], wording: Wording) -> Sample {
    Sample {
        path: "a.png".into(),
        content_hash: String::new(),
        size: (64, 64),
        bucket: Bucket { width: 64, height: 64 },
        views: Vec::new(),
        captions: captions.iter().map(|caption| (*caption).to_owned()).collect(),
        wording: wording.into(),
        source: 0,
        held_out: false,
    }
}

fn shuffling() -> Wording {
    Wording { shuffle: true, ..Wording::default() }
}

fn batch(samples: &[usize]) -> Batch {
    Batch { source: 0, bucket: Bucket { width: 64, height: 64 }, samples: samples.to_vec(), first_ordinal: 0 }
}

#[test]
fn the_empty_text_and_those_of_unvaried_samples_are_known_beforehand() {
    let marked = Wording { keep_marker: Some("|||".into()), ..Wording::default() };
    let samples = [
        sample(&["b", "a,c"], Wording::default()),
        sample(&["d, e"], shuffling()),
        sample(&["f ||| g"], marked),
    ];
    let captions = Captioning::new(1, &samples);
    assert!(captions.varies());
    assert_eq!(captions.fixed().into_iter().collect::<Vec<_>>(), ["", "a,c", "b", "f, g"]);
    assert!(!Captioning::new(1, &samples[..1]).varies());
    assert_eq!((samples[0].plain_caption(), samples[1].plain_caption()), ("b".into(), "d, e".into()));
    // Held out of training, it needs the one text with which it is compared.
    let mut samples = samples;
    samples[1].held_out = true;
    let captions = Captioning::new(1, &samples);
    assert!(!captions.varies() && captions.fixed().contains("d, e"));
}

#[test]
fn every_text_is_either_fixed_or_named_for_its_step() {
    let wording = Wording { dropout: 0.3, tag_dropout: 0.5, ..shuffling() };
    let samples = [
        sample(&["a, b, c", "d, e"], wording.clone()),
        sample(&["plain"], Wording { dropout: 0.3, ..Wording::default() }),
        sample(&["x"], wording),
    ];
    let captions = Captioning::new(7, &samples);
    let fixed = captions.fixed();
    let mut empty = 0;
    for step in 0..300 {
        let batch = batch(&[2, 0, 1]);
        let mut named = BTreeSet::new();
        captions.add_varied(step, std::slice::from_ref(&batch), &mut named);
        let read: BTreeSet<String> =
            (0..3).map(|ordinal| captions.text(step, ordinal, batch.samples[ordinal]).into_owned()).collect();
        assert!(read.iter().all(|text| fixed.contains(text) || named.contains(text)), "{read:?}");
        assert!(named.is_subset(&read) && !named.contains(""));
        empty += usize::from(captions.text(step, 1, 0).is_empty());
    }
    // Dropped with probability 0.3; else both tags or all three are left out: (1/4 + 1/8) / 2.
    let expected = 0.3 + 0.7 * (0.25 + 0.125) / 2.0;
    let deviation = (300.0f64 * expected * (1.0 - expected)).sqrt();
    assert!((f64::from(u32::try_from(empty).unwrap()) - 300.0 * expected).abs() < 4.0 * deviation, "{empty}");
}

#[test]
fn each_data_set_has_its_own_dropout() {
    let samples =
        [sample(&["a"], Wording { dropout: 1.0, ..Wording::default() }), sample(&["b"], Wording::default())];
    let captions = Captioning::new(7, &samples);
    assert!((0..50).all(|step| captions.text(step, 0, 0).is_empty() && captions.text(step, 1, 1) == "b"));
}

#[test]
fn encoders_are_left_out_independently_and_as_often_as_was_asked() {
    // The rates with which Stable Diffusion 3 was trained: 46.4 % each.
    let mut counts = [0usize; 8];
    for number in 0..8000 {
        let dropped = encoders_dropped(3, number / 4, number % 4, [0.464; 3]);
        assert_eq!(dropped, encoders_dropped(3, number / 4, number % 4, [0.464; 3]));
        counts[dropped.iter().fold(0, |bits, &dropped| 2 * bits + usize::from(dropped))] += 1;
    }
    for (bits, count) in counts.into_iter().enumerate() {
        let dropped = bits.count_ones() as i32;
        let expected = 8000.0 * 0.464f64.powi(dropped) * 0.536f64.powi(3 - dropped);
        assert!((count as f64 - expected).abs() < 4.0 * expected.sqrt(), "{bits:b}: {count} of {expected}");
    }
    assert_eq!(encoders_dropped(3, 5, 1, [0.0, 1.0, 0.0]), [false, true, false]);
}
