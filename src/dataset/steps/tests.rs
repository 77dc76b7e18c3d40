//! The arithmetic against numbers of SimpleTuner's own sampler, and against itself.

use super::*;
use proptest::prelude::*;

/// A data set whose buckets hold so many pictures.
fn set(pictures: &[usize], repeats: Repeats, probability: f64) -> SetCount {
    let bucket = |(index, &n): (usize, &usize)| (Bucket { width: 64 * (index + 1), height: 64 }, n);
    SetCount {
        id: "set".into(),
        share: Share { repeats, probability },
        buckets: pictures.iter().enumerate().map(bucket).collect(),
    }
}

fn options(batch_size: usize) -> ScheduleOptions {
    ScheduleOptions {
        seed: 42,
        batch_size,
        gradient_accumulation_steps: 1,
        length: Length::Epochs(1),
        sampling: Sampling::BySize,
        fill_short_batches: false,
    }
}

/// Pictures by bucket of three sets of 476 pictures.
const ONE: &[usize] = &[476];
const EIGHT: &[usize] = &[90, 80, 75, 70, 60, 45, 36, 20];
const TEN: &[usize] = &[200, 101, 63, 41, 31, 17, 13, 7, 2, 1];

/// What SimpleTuner 1.2 announced and what its sampler did, in batches of 6: repeats, estimate, steps.
const SIMPLETUNER: [(&[usize], usize, usize, usize); 6] = [
    (ONE, 5, 476, 480),
    (EIGHT, 5, 476, 492),
    (TEN, 5, 476, 510),
    (ONE, 4, 397, 400),
    (EIGHT, 4, 399, 410),
    (TEN, 4, 400, 425),
];

#[test]
fn simpletuners_numbers_come_out() {
    for (pictures, repeats, estimate, sampled) in SIMPLETUNER {
        let set = set(pictures, Repeats::Extra(repeats), 1.0);
        let steps = Steps::count(std::slice::from_ref(&set), &options(6)).unwrap();
        let readings = steps.readings;
        assert_eq!((readings.simpletuner_estimate, readings.simpletuner_sampler), (estimate, sampled));
        let filling = ScheduleOptions { fill_short_batches: true, ..options(6) };
        let filled = Steps::count(&[set], &filling).unwrap();
        assert_eq!((filled.steps_per_epoch, filled.sets[0].short_batches), (sampled, 0));
    }
}

#[test]
fn the_formula_of_tutorials_is_told_exactly() {
    let steps = Steps::count(&[set(EIGHT, Repeats::Extra(5), 1.0)], &options(6)).unwrap();
    // 476 * 5 / 6 = 396.67.
    let readings = steps.readings;
    assert!((readings.formula - 2380.0 / 6.0).abs() < 1e-12);
    assert_eq!((readings.formula_rounded_down, readings.formula_rounded_up), (396, 397));
    // Five passes: 75 + 67 + 63 + 59 + 50 + 38 + 30 + 17 batches.
    assert_eq!(readings.kohya, 399);
    // Six passes: every bucket of n pictures gives n batches of 6.
    assert_eq!((steps.steps_per_epoch, steps.sets[0].short_batches), (476, 0));
}

#[test]
fn repeats_have_two_readings() {
    let count = |repeats| Steps::count(&[set(ONE, repeats, 1.0)], &options(6)).unwrap();
    let (extra, passes) = (count(Repeats::Extra(5)), count(Repeats::Passes(5)));
    assert_eq!((extra.sets[0].passes, extra.sets[0].passes_in_kohya), (6, 5));
    assert_eq!((passes.sets[0].passes, passes.sets[0].passes_in_kohya), (5, 5));
    // 476 * 5 = 2380 = 396 * 6 + 4.
    let group = passes.groups[0];
    assert_eq!((group.appearances, group.batches, group.short_batches, group.last_batch), (2380, 397, 1, 4));
    assert_eq!(count(Repeats::Extra(0)).readings.formula_rounded_up, 80);
}

#[test]
fn the_length_is_given_in_steps_or_epochs() {
    let count = |length, gradient_accumulation_steps| {
        let options = ScheduleOptions { length, gradient_accumulation_steps, ..options(6) };
        Steps::count(&[set(EIGHT, Repeats::Extra(5), 1.0)], &options).unwrap()
    };
    let run = count(Length::Steps(24_000), 1);
    assert_eq!((run.total_steps, run.epochs()), (24_000, 24_000.0 / 476.0));
    let run = count(Length::Epochs(3), 4);
    assert_eq!((run.steps_per_epoch, run.total_steps, run.epochs()), (119, 357, 3.0));
}

#[test]
fn a_probability_changes_a_sets_share_of_an_epoch() {
    let sets = |probability| [set(&[60], Repeats::Extra(0), 1.0), set(&[30], Repeats::Extra(0), probability)];
    let shares = |probability, sampling| {
        let options = ScheduleOptions { sampling, ..options(6) };
        let steps = Steps::count(&sets(probability), &options).unwrap();
        steps.sets.iter().map(|set| set.batches_per_epoch).collect::<Vec<_>>()
    };
    assert_eq!(shares(1.0, Sampling::BySize), [10, 5]);
    assert_eq!(shares(0.5, Sampling::BySize), [10, 3]);
    assert_eq!(shares(2.0, Sampling::BySize), [10, 10]);
    assert_eq!(shares(1e-9, Sampling::BySize), [10, 1]);
    // Fifteen batches, by weights 1 and 2.
    assert_eq!(shares(2.0, Sampling::Uniform), [5, 10]);
}

#[test]
fn what_gives_no_steps_is_refused() {
    let refused = |set: SetCount, options: ScheduleOptions| Steps::count(&[set], &options).unwrap_err();
    let plain = || set(&[1], Repeats::Extra(0), 1.0);
    assert!(refused(plain(), options(0)).place.contains("train_batch_size"));
    let no_accumulation = ScheduleOptions { gradient_accumulation_steps: 0, ..options(1) };
    assert!(refused(plain(), no_accumulation).place.contains("gradient_accumulation_steps"));
    for (length, key) in [
        (Length::Steps(0), "max_train_steps"),
        (Length::Steps(usize::MAX), "max_train_steps"),
        (Length::Epochs(0), "num_train_epochs"),
        (Length::Epochs(usize::MAX), "num_train_epochs"),
    ] {
        assert!(refused(plain(), ScheduleOptions { length, ..options(1) }).place.contains(key));
    }
    assert!(refused(set(&[1], Repeats::Passes(0), 1.0), options(1)).place.contains("num_repeats"));
    assert!(refused(set(&[1], Repeats::Extra(0), 0.0), options(1)).place.contains("probability"));
    assert!(refused(set(&[], Repeats::Extra(0), 1.0), options(1)).place.contains("data_backend_config"));
}

proptest! {
    #[test]
    fn sums_hold(
        pictures in prop::collection::vec(1usize..300, 1..12), repeats in 0usize..9, batch_size in 1usize..20,
    ) {
        let steps = Steps::count(&[set(&pictures, Repeats::Extra(repeats), 1.0)], &options(batch_size)).unwrap();
        for group in &steps.groups {
            prop_assert_eq!((group.batches - 1) * batch_size + group.last_batch, group.appearances);
            prop_assert!((1..=batch_size).contains(&group.last_batch));
        }
        let all: usize = pictures.iter().sum();
        prop_assert_eq!(steps.groups.iter().map(|group| group.appearances).sum::<usize>(), all * (repeats + 1));
        prop_assert!(steps.readings.simpletuner_sampler >= steps.readings.simpletuner_estimate);
        prop_assert!(steps.readings.simpletuner_sampler >= steps.steps_per_epoch);
    }
}
