//! Which steps' texts are made ready together.

use crate::dataset::{Captioning, Schedule};
use std::collections::BTreeSet;

/// Steps whose texts are made ready together, and those texts.
#[derive(Debug, PartialEq, Eq)]
pub struct Stretch {
    /// The first of them; steps count from 0.
    pub first: u64,
    /// The first that no longer belongs to them.
    pub end: u64,
    /// What they read and is not known before the run, and what is read ahead of the steps behind them.
    pub texts: BTreeSet<String>,
}

/// Finds stretches.
#[derive(Debug, Clone, Copy)]
pub struct Stretches<'a> {
    /// Which samples a step sees.
    pub schedule: &'a Schedule,
    /// Which texts they come with.
    pub captions: Captioning<'a>,
    /// Steps whose texts are read at one time: modulation vectors are made ahead.
    pub ahead: u64,
    /// Texts of a stretch, unless so many steps ahead need more.
    pub most: usize,
}

impl Stretches<'_> {
    /// The stretch that begins with step `first`, which the run has.
    pub fn from(&self, first: u64) -> Stretch {
        let total = self.schedule.total_steps() as u64;
        let epoch = |step: u64| self.schedule.epoch_of(step as usize);
        let next_epoch = (first..total).find(|&step| epoch(step) != epoch(first)).unwrap_or(total);
        let last_read = total.min(next_epoch + self.ahead - 1);
        let mut texts = BTreeSet::new();
        let mut read = first;
        while read < last_read && (texts.len() < self.most || read < first + self.ahead) {
            let batches = self.schedule.micro_batches(read as usize);
            self.captions.add_varied(read as usize, &batches, &mut texts);
            read += 1;
        }
        let end = if read == total { next_epoch } else { read + 1 - self.ahead };
        Stretch { first, end: end.max(first + 1), texts }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::{
        Admission, Augmentation, Bucket, CaptionOptions, CaptionStrategy, Framing, Length, Lesson, Repeats,
        Sample, Sampling, ScheduleOptions, Share, Source, Wording,
    };
    use proptest::prelude::*;

    /// Pictures whose captions are shuffled, each shown so often in an epoch.
    fn samples(passes: &[usize]) -> Vec<Sample> {
        let sample = |(index, &passes): (usize, &usize)| Sample {
            path: format!("{index}.png").into(),
            content_hash: index.to_string(),
            size: (64, 64),
            bucket: Bucket { width: 64, height: 64 },
            views: Vec::new(),
            captions: vec![format!("{index}, a, b, c, d, e, f")],
            wording: Wording { shuffle: true, ..Wording::default() }.into(),
            source: passes - 1,
            held_out: false,
        };
        passes.iter().enumerate().map(sample).collect()
    }

    /// A data set whose pictures an epoch shows so often.
    fn source(passes: usize) -> Source {
        Source {
            id: passes.to_string(),
            folder: "pictures".into(),
            captions: CaptionOptions::new(CaptionStrategy::FileName),
            wording: Default::default(),
            share: Share { repeats: Repeats::Passes(passes), probability: 1.0 },
            lesson: Lesson::default(),
            framing: Framing::usual(64),
            admission: Admission::default(),
            augmentation: Augmentation::default(),
        }
    }

    fn schedule(samples: &[Sample], batch_size: usize, length: Length) -> Schedule {
        let options = ScheduleOptions {
            seed: 3,
            batch_size,
            gradient_accumulation_steps: 1,
            length,
            sampling: Sampling::default(),
            fill_short_batches: false,
        };
        let most = samples.iter().map(|sample| sample.source + 1).max().unwrap_or(1);
        Schedule::new(samples, &(1..=most).map(source).collect::<Vec<_>>(), &options).unwrap()
    }

    /// All stretches of a run that begins at `step`.
    fn all(stretches: &Stretches<'_>, mut step: u64) -> Vec<Stretch> {
        let mut all = Vec::new();
        while step < stretches.schedule.total_steps() as u64 {
            all.push(stretches.from(step));
            step = all.last().unwrap().end;
        }
        all
    }

    #[test]
    fn a_stretch_is_an_epoch_where_there_is_room() {
        let samples = samples(&[1; 12]);
        let schedule = schedule(&samples, 2, Length::Epochs(3));
        let captions = Captioning::new(3, &samples);
        let stretches = Stretches { schedule: &schedule, captions, ahead: 1, most: 1000 };
        let bounds: Vec<_> = all(&stretches, 0).iter().map(|s| (s.first, s.end, s.texts.len())).collect();
        // Six tags in any order: that two of twelve captions read alike does not happen.
        assert_eq!(bounds, [(0, 6, 12), (6, 12, 12), (12, 18, 12)]);
        let resumed: Vec<_> = all(&stretches, 8).iter().map(|s| (s.first, s.end, s.texts.len())).collect();
        assert_eq!(resumed, [(8, 12, 8), (12, 18, 12)]);
        let seen: BTreeSet<String> = all(&stretches, 0).into_iter().flat_map(|s| s.texts).collect();
        assert_eq!(seen.len(), 36, "every epoch has texts of its own");
    }

    #[test]
    fn what_is_read_ahead_belongs_to_a_stretch_as_well() {
        let samples = samples(&[1; 12]);
        let schedule = schedule(&samples, 2, Length::Steps(15));
        let captions = Captioning::new(3, &samples);
        let stretches = Stretches { schedule: &schedule, captions, ahead: 4, most: 1000 };
        let bounds: Vec<_> = all(&stretches, 0).iter().map(|s| (s.first, s.end, s.texts.len())).collect();
        // The last stretch ends with the run.
        assert_eq!(bounds, [(0, 6, 18), (6, 12, 18), (12, 15, 6)]);
    }

    proptest! {
        #[test]
        fn stretches_cover_a_run_and_hold_what_its_steps_read(
            passes in prop::collection::vec(1usize..4, 1..10), batch in 1usize..4, steps in 1usize..40,
            ahead in 1u64..9, most in 1usize..30, begin in 0usize..40,
        ) {
            let samples = samples(&passes);
            let schedule = schedule(&samples, batch, Length::Steps(steps));
            let captions = Captioning::new(3, &samples);
            let stretches = Stretches { schedule: &schedule, captions, ahead, most };
            let begin = begin.min(steps - 1) as u64;
            let mut next = begin;
            for stretch in all(&stretches, begin) {
                prop_assert!(stretch.first == next && stretch.end > next);
                next = stretch.end;
                // At any of its steps the vectors of the steps ahead may be made.
                let last = (stretch.end - 1 + ahead).min(steps as u64);
                for step in stretch.first as usize..last as usize {
                    let mut read = BTreeSet::new();
                    captions.add_varied(step, &schedule.micro_batches(step), &mut read);
                    prop_assert!(read.is_subset(&stretch.texts), "step {step} of {stretch:?}");
                }
                let bound = most.max(ahead as usize * batch) + batch;
                prop_assert!(stretch.texts.len() <= bound, "{} of {bound}", stretch.texts.len());
            }
            prop_assert_eq!(next, steps as u64);
        }
    }
}
