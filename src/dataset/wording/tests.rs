//! The rules of kohya's `process_caption` and of SimpleTuner's shuffle, on their own examples and by counting.

use super::*;
use proptest::prelude::*;

fn at(step: usize) -> Appearance {
    Appearance { seed: 42, step, ordinal: step % 7, variant: 0 }
}

fn shuffling() -> Wording {
    Wording { shuffle: true, ..Wording::default() }
}

fn tags(text: &str) -> Vec<&str> {
    if text.is_empty() { Vec::new() } else { text.split(", ").collect() }
}

fn sorted(mut tags: Vec<&str>) -> Vec<&str> {
    tags.sort_unstable();
    tags
}

#[test]
fn a_caption_that_does_not_vary_stays_as_it_was_written() {
    let plain = Wording::default();
    assert!(!plain.varies());
    for caption in ["a dog,running ,  park", "{{not}} {one|two}", "a ||| b", ""] {
        assert_eq!(plain.plain(caption), caption);
        assert_eq!(plain.text(caption, &at(3)), caption);
    }
}

#[test]
fn the_first_tags_stay_and_every_order_of_the_others_comes_about_as_often() {
    // SimpleTuner's documented example, position_start 1.
    let wording = Wording { keep_first: 1, ..shuffling() };
    let mut counts = std::collections::BTreeMap::new();
    for step in 0..6000 {
        let text = wording.text("dog, running,park ,  sunny day", &at(step));
        assert!(text.starts_with("dog, "), "{text}");
        assert_eq!(sorted(tags(&text)), ["dog", "park", "running", "sunny day"]);
        *counts.entry(text).or_insert(0usize) += 1;
    }
    // Six orders, each with probability 1/6.
    let deviation = (6000.0f64 * (1.0 / 6.0) * (5.0 / 6.0)).sqrt();
    assert_eq!(counts.len(), 6);
    assert!(counts.values().all(|&n| (n as f64 - 1000.0).abs() < 4.0 * deviation), "{counts:?}");
}

#[test]
fn tags_are_left_out_as_often_as_was_asked_and_kept_ones_never() {
    let wording = Wording { tag_dropout: 0.3, keep_first: 2, ..Wording::default() };
    let caption = "k4s4, a cat, red, small, old, tall, wet";
    let (mut left, mut places) = (0usize, [0usize; 5]);
    for step in 0..4000 {
        let text = wording.text(caption, &at(step));
        let tags = tags(&text);
        assert_eq!(tags[..2], ["k4s4", "a cat"]);
        // In their order, since nothing is shuffled.
        let order = ["red", "small", "old", "tall", "wet"];
        let found: Vec<usize> =
            tags[2..].iter().map(|tag| order.iter().position(|known| known == tag).unwrap()).collect();
        assert!(found.is_sorted());
        left += found.len();
        found.into_iter().for_each(|tag| places[tag] += 1);
    }
    let bound = |n: f64| 4.0 * (n * 0.3 * 0.7).sqrt();
    assert!((left as f64 - 14_000.0).abs() < bound(20_000.0), "{left}");
    assert!(places.iter().all(|&n| (n as f64 - 2800.0).abs() < bound(4000.0)), "{places:?}");
}

#[test]
fn with_every_tag_left_out_the_kept_ones_stand_alone() {
    let wording = Wording { tag_dropout: 1.0, ..shuffling() };
    assert_eq!(wording.text("a, b, c", &at(0)), "");
    let wording = Wording { keep_first: 9, ..wording };
    assert_eq!(wording.text("a, b, c", &at(0)), "a, b, c");
    let wording = Wording { keep_first: 0, lead: Some("k4s4".into()), ..wording };
    assert_eq!(wording.text("k4s4 a, b, c", &at(0)), "k4s4");
}

#[test]
fn a_marker_keeps_beginning_and_end() {
    // kohya's documented example of keep_tokens_separator.
    let caption = "1girl, hatsune miku, vocaloid ||| stage, microphone, white shirt, smile ||| best quality, rating: general";
    let wording = Wording { keep_marker: Some("|||".into()), tag_dropout: 0.2, keep_first: 1, ..shuffling() };
    let mut texts = std::collections::BTreeSet::new();
    for step in 0..200 {
        let text = wording.text(caption, &at(step));
        assert!(text.starts_with("1girl, hatsune miku, vocaloid, "), "{text}");
        assert!(text.ends_with(", best quality, rating: general"), "{text}");
        texts.insert(text);
    }
    assert!(texts.len() > 30, "{}", texts.len());
    let plain =
        "1girl, hatsune miku, vocaloid, stage, microphone, white shirt, smile, best quality, rating: general";
    assert_eq!(wording.plain(caption), plain);
    // Where the marker is missing, the first tags are kept.
    assert!((0..50).all(|step| wording.text("a, b, c, d", &at(step)).starts_with('a')));
    // Nothing varies, but the marker must not be trained.
    let only_marked = Wording { keep_marker: Some("|||".into()), ..Wording::default() };
    assert_eq!(only_marked.plain("a ||| b,c"), "a, b, c");
}

#[test]
fn what_a_second_separator_holds_together_stays_together() {
    // kohya's documented example of secondary_separator.
    let caption = "1girl, hatsune miku, vocaloid, upper body, looking at viewer, sky;;;cloud;;;day, outdoors";
    let wording = Wording { inner_separator: Some(";;;".into()), ..shuffling() };
    for step in 0..100 {
        assert!(wording.text(caption, &at(step)).contains("sky,cloud,day"));
    }
    let still = Wording { shuffle: false, ..wording };
    assert!(!still.varies());
    assert_eq!(still.plain("a, b;;;c"), "a, b,c");
}

#[test]
fn choices_in_braces_are_drawn() {
    let wording = Wording { wildcards: true, ..Wording::default() };
    // kohya's documented examples of enable_wildcard.
    let mut simple = 0;
    for step in 0..2000 {
        match wording.text("1girl, {simple|white} background", &at(step)).as_str() {
            "1girl, simple background" => simple += 1,
            other => assert_eq!(other, "1girl, white background"),
        }
    }
    assert!((f64::from(simple) - 1000.0).abs() < 4.0 * 500.0f64.sqrt(), "{simple}");
    assert_eq!(wording.text("vocaloid, {{retro style}}", &at(0)), "vocaloid, {retro style}");
    assert_eq!(wording.plain("{a|b|c} of {d|e}"), "a of d");
    // Two choices are drawn apart.
    let both: std::collections::BTreeSet<_> = (0..100).map(|s| wording.text("{a|b}{a|b}", &at(s))).collect();
    assert_eq!(both.len(), 4);
    for odd in ["{", "}", "a } b { c", "{}", "}{"] {
        assert_eq!(wording.text(odd, &at(0)), odd);
    }
}

#[test]
fn a_prepended_prompt_never_moves() {
    // As in SimpleTuner, where captions are shuffled before the prompt is prepended.
    let wording = Wording { lead: Some("k4s4, oil".into()), ..shuffling() };
    for step in 0..50 {
        let text = wording.text("k4s4, oil a, b, c", &at(step));
        assert_eq!(sorted(tags(text.strip_prefix("k4s4, oil ").unwrap())), ["a", "b", "c"]);
    }
}

#[test]
fn other_separators_keep_their_own_form() {
    let with = |separator: &str| Wording { separator: separator.into(), keep_first: 3, ..shuffling() };
    assert_eq!(with(".").text("One. Two.Three.", &at(0)), "One. Two. Three");
    assert_eq!(with(" ").text("one  two three", &at(0)), "one two three");
    assert_eq!(with(";").text("one;two ; three", &at(0)), "one; two; three");
}

#[test]
fn an_appearance_decides_everything() {
    let wording = Wording { tag_dropout: 0.4, ..shuffling() };
    let caption = "a, b, c, d, e, f, g, h";
    let base = at(5);
    let text = |at: Appearance| wording.text(caption, &at);
    assert_eq!(text(base), text(base));
    let others = [
        Appearance { seed: 43, ..base },
        Appearance { step: 6, ..base },
        Appearance { ordinal: 6, ..base },
        Appearance { variant: 1, ..base },
    ];
    for other in others {
        assert_ne!(text(other), text(base), "{other:?}");
    }
}

proptest! {
    #[test]
    fn shuffling_moves_tags_and_nothing_else(
        caption in "[a-c,| {}äö]{0,40}", keep in 0usize..4, step in 0usize..1000, ordinal in 0usize..50,
    ) {
        let wording = Wording { keep_first: keep, ..shuffling() };
        let at = Appearance { seed: 1, step, ordinal, variant: 0 };
        let (text, plain) = (wording.text(&caption, &at), wording.plain(&caption));
        prop_assert_eq!(sorted(tags(&text)), sorted(tags(&plain)));
        let kept = keep.min(tags(&plain).len());
        prop_assert_eq!(&tags(&text)[..kept], &tags(&plain)[..kept]);
    }

    #[test]
    fn no_caption_is_too_strange(caption in "\\PC{0,60}", separator in "\\PC{1,3}", step in 0usize..100) {
        let wording = Wording {
            separator,
            keep_marker: Some("|".into()),
            inner_separator: Some(";".into()),
            wildcards: true,
            tag_dropout: 0.5,
            lead: Some("é".into()),
            ..shuffling()
        };
        let at = Appearance { seed: 9, step, ordinal: 0, variant: 3 };
        prop_assert_eq!(wording.text(&caption, &at), wording.text(&caption, &at));
        wording.plain(&caption);
    }
}
