//! Orders, by what they must keep.

use super::*;
use crate::dataset::steps::{Length, Repeats, Sampling, Share};
use crate::dataset::{Admission, Augmentation, CaptionOptions, CaptionStrategy, Framing, Lesson};
use proptest::prelude::*;

/// Data sets with so many repeats and such a probability.
fn sources(shares: &[(usize, f64)]) -> Vec<Source> {
    let source = |(index, &(extra, probability)): (usize, &(usize, f64))| Source {
        id: format!("set {index}"),
        folder: "pictures".into(),
        captions: CaptionOptions::new(CaptionStrategy::FileName),
        wording: Default::default(),
        share: Share { repeats: Repeats::Extra(extra), probability },
        lesson: Lesson::default(),
        framing: Framing::usual(64),
        admission: Admission::default(),
        augmentation: Augmentation::default(),
    };
    shares.iter().enumerate().map(source).collect()
}

/// Samples of `(data set, bucket side)`.
fn samples(kinds: &[(usize, usize)]) -> Vec<Sample> {
    let sample = |(index, &(source, side)): (usize, &(usize, usize))| Sample {
        path: format!("{index}.png").into(),
        content_hash: index.to_string(),
        size: (64, 64),
        bucket: Bucket { width: side, height: 64 },
        views: Vec::new(),
        captions: vec!["a picture".into()],
        wording: Default::default(),
        source,
        held_out: false,
    };
    kinds.iter().enumerate().map(sample).collect()
}

fn options(batch_size: usize, accumulation: usize, length: Length) -> ScheduleOptions {
    ScheduleOptions {
        seed: 42,
        batch_size,
        gradient_accumulation_steps: accumulation,
        length,
        sampling: Sampling::BySize,
        fill_short_batches: false,
    }
}

#[test]
fn short_batches_are_kept_short() {
    let samples = samples(&[(0, 64), (0, 64), (0, 64), (0, 64), (0, 64), (1, 128), (1, 128)]);
    let sources = sources(&[(0, 1.0), (0, 1.0)]);
    let schedule = Schedule::new(&samples, &sources, &options(4, 2, Length::Epochs(3))).unwrap();
    assert_eq!(schedule.batches_per_epoch(), 3);
    assert_eq!((schedule.steps_per_epoch(), schedule.total_steps()), (2, 6));
    assert_eq!([0, 1, 2, 5].map(|step| schedule.epoch_of(step)), [0, 0, 1, 2]);
    let mut sizes: Vec<usize> =
        [0, 1].iter().flat_map(|&s| schedule.micro_batches(s)).map(|b| b.samples.len()).collect();
    sizes.sort_unstable();
    assert_eq!(sizes, [1, 2, 4]);
}

#[test]
fn epochs_differ_and_repeat_with_the_seed() {
    let samples = samples(&[(0, 64); 40]);
    let new = |options| Schedule::new(&samples, &sources(&[(0, 1.0)]), &options).unwrap();
    let schedule = new(options(4, 1, Length::Steps(100)));
    let epoch = |n: usize| (0..10).flat_map(|s| schedule.micro_batches(10 * n + s)).collect::<Vec<_>>();
    assert_eq!(epoch(1), epoch(1));
    assert_ne!(epoch(0), epoch(1));
    let other = new(ScheduleOptions { seed: 43, ..options(4, 1, Length::Steps(100)) });
    assert_ne!(schedule.micro_batches(0), other.micro_batches(0));
}

#[test]
fn the_length_of_a_run_does_not_change_its_steps() {
    let samples = samples(&[(0, 64), (0, 64), (0, 96), (1, 64)]);
    let sources = sources(&[(1, 1.0), (4, 0.3)]);
    let new = |length| Schedule::new(&samples, &sources, &options(2, 2, length)).unwrap();
    let (short, long) = (new(Length::Steps(5)), new(Length::Epochs(50)));
    assert!((0..20).all(|step| short.micro_batches(step) == long.micro_batches(step)));
}

#[test]
fn a_set_of_lower_probability_goes_on_where_it_stopped() {
    // Ten batches of the first; of the second's eight, two an epoch.
    let kinds = [vec![(0, 64); 10], vec![(1, 64); 8]].concat();
    let (samples, sources) = (samples(&kinds), sources(&[(0, 1.0), (0, 0.25)]));
    let schedule = Schedule::new(&samples, &sources, &options(1, 1, Length::Epochs(8))).unwrap();
    assert_eq!(schedule.steps_per_epoch(), 12);
    for round in 0..2 {
        let steps = 4 * 12 * round..4 * 12 * (round + 1);
        let shown = steps.flat_map(|step| schedule.micro_batches(step)).filter(|batch| batch.source == 1);
        let mut shown: Vec<usize> = shown.map(|batch| batch.samples[0]).collect();
        shown.sort_unstable();
        assert_eq!(shown, (10..18).collect::<Vec<_>>(), "round {round}");
    }
    let later = Schedule::new(&samples, &sources, &options(1, 1, Length::Epochs(8))).unwrap();
    assert_eq!(later.micro_batches(77), schedule.micro_batches(77));
}

#[test]
fn filled_batches_are_full_and_every_pass_shows_every_sample() {
    let samples = samples(&[vec![(0, 64); 7], vec![(0, 96); 2]].concat());
    let filling = ScheduleOptions { fill_short_batches: true, ..options(4, 1, Length::Epochs(2)) };
    let schedule = Schedule::new(&samples, &sources(&[(2, 1.0)]), &filling).unwrap();
    // Three passes over ceil(7/4) + ceil(2/4) batches.
    assert_eq!(schedule.steps_per_epoch(), 9);
    for epoch in 0..2 {
        let mut shown = [0usize; 9];
        for batch in (0..9).flat_map(|step| schedule.micro_batches(9 * epoch + step)) {
            assert_eq!(batch.samples.len(), 4);
            batch.samples.iter().for_each(|&sample| shown[sample] += 1);
        }
        assert!(shown.iter().all(|&count| count >= 3), "{shown:?}");
        assert_eq!(shown.iter().sum::<usize>(), 36);
    }
}

proptest! {
    #[test]
    fn every_epoch_shows_every_sample_as_often_as_its_repeats_say(
        kinds in prop::collection::vec((0usize..3, prop::sample::select(vec![64usize, 96, 128])), 1..30),
        extra in prop::array::uniform3(0usize..4),
        batch_size in 1usize..7, accumulation in 1usize..4, seed: u64, epoch in 0usize..1000,
    ) {
        let (samples, sources) = (samples(&kinds), sources(&extra.map(|extra| (extra, 1.0))));
        let options = ScheduleOptions { seed, ..options(batch_size, accumulation, Length::Epochs(1)) };
        let schedule = Schedule::new(&samples, &sources, &options).unwrap();
        let mut shown = vec![0; samples.len()];
        let mut short = std::collections::BTreeMap::new();
        let mut batches = 0;
        for step in 0..schedule.steps_per_epoch() {
            let step_batches = schedule.micro_batches(epoch * schedule.steps_per_epoch() + step);
            let last = step + 1 == schedule.steps_per_epoch();
            prop_assert!(step_batches.len() == accumulation || (last && !step_batches.is_empty()));
            let mut ordinal = 0;
            for batch in step_batches {
                prop_assert_eq!(batch.first_ordinal, ordinal);
                ordinal += batch.samples.len();
                prop_assert!((1..=batch_size).contains(&batch.samples.len()));
                if batch.samples.len() < batch_size {
                    *short.entry((batch.source, batch.bucket)).or_insert(0) += 1;
                }
                for &index in &batch.samples {
                    prop_assert_eq!((samples[index].source, samples[index].bucket), (batch.source, batch.bucket));
                    shown[index] += 1;
                }
                batches += 1;
            }
        }
        prop_assert_eq!(batches, schedule.batches_per_epoch());
        prop_assert!(short.values().all(|&count| count == 1));
        for (sample, count) in samples.iter().zip(shown) {
            prop_assert_eq!(count, extra[sample.source] + 1);
        }
    }
}
