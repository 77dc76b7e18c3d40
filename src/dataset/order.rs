//! Which samples an optimizer step sees: a pure function of the seed and the step, so that a resumed run
//! sees what the uninterrupted one would have seen.
//!
//! In an epoch every sample appears as often as its `passes` say. A bucket's appearances are shuffled and
//! cut into batches, of which the last may be short; then the batches of all buckets are shuffled. An
//! optimizer step takes `gradient_accumulation_steps` batches, the last step of an epoch what is left.

use super::{Bucket, Sample};
use crate::error::{Error, Result};
use crate::random::{Purpose, Stream};
use std::collections::BTreeMap;

/// How long to train.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Length {
    /// So many optimizer steps.
    Steps(usize),
    /// So many times through the dataset.
    Epochs(usize),
}

/// What a schedule depends on besides the samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScheduleOptions {
    /// The run's seed.
    pub seed: u64,
    /// Samples of a full batch.
    pub batch_size: usize,
    /// Batches of a full optimizer step.
    pub gradient_accumulation_steps: usize,
    /// When training ends.
    pub length: Length,
}

/// Samples of one bucket that go through the model together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// Their size.
    pub bucket: Bucket,
    /// Their indices in the dataset.
    pub samples: Vec<usize>,
    /// Ordinal in the optimizer step of the first of them; draws are told apart by (step, ordinal).
    pub first_ordinal: usize,
}

/// What a bucket contributes to an epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BucketCount {
    /// The bucket.
    pub bucket: Bucket,
    /// Different pictures.
    pub pictures: usize,
    /// Appearances of pictures in an epoch.
    pub appearances: usize,
    /// Batches in an epoch.
    pub batches: usize,
    /// Samples of the last batch.
    pub last_batch: usize,
}

/// See the module's documentation. Steps and epochs count from 0.
#[derive(Debug, Clone)]
pub struct Schedule {
    seed: u64,
    batch_size: usize,
    accumulation: usize,
    total_steps: usize,
    /// Appearances by bucket: sample indices, each `passes` times.
    appearances: BTreeMap<Bucket, Vec<usize>>,
}

impl Schedule {
    /// The schedule of `samples`.
    ///
    /// # Errors
    /// No samples, or a size or length of zero or beyond 2^32 steps.
    pub fn new(samples: &[Sample], options: &ScheduleOptions) -> Result<Self> {
        let positive = |key, value| match value {
            0 => Err(Error::setting(key, "must be at least 1")),
            _ => Ok(value),
        };
        let mut appearances: BTreeMap<Bucket, Vec<usize>> = BTreeMap::new();
        for (index, sample) in samples.iter().enumerate() {
            let bucket = appearances.entry(sample.bucket).or_default();
            bucket.extend(std::iter::repeat_n(index, sample.passes));
        }
        appearances.retain(|_, indices| !indices.is_empty());
        if appearances.is_empty() {
            return Err(Error::setting("data_backend_config", "names no pictures to train on"));
        }
        let mut schedule = Self {
            seed: options.seed,
            batch_size: positive("train_batch_size", options.batch_size)?,
            accumulation: positive("gradient_accumulation_steps", options.gradient_accumulation_steps)?,
            total_steps: 0,
            appearances,
        };
        let (key, total) = match options.length {
            Length::Steps(steps) => ("max_train_steps", Some(positive("max_train_steps", steps)?)),
            Length::Epochs(epochs) => {
                let epochs = positive("num_train_epochs", epochs)?;
                ("num_train_epochs", epochs.checked_mul(schedule.steps_per_epoch()))
            }
        };
        // Random draws are numbered by 32-bit steps.
        let total = total.filter(|&steps| u32::try_from(steps).is_ok());
        schedule.total_steps = total
            .ok_or_else(|| Error::setting(key, "asks for more than 2^32 steps").hint("ask for fewer"))?;
        Ok(schedule)
    }

    /// Optimizer steps of the whole run.
    pub fn total_steps(&self) -> usize {
        self.total_steps
    }

    /// Batches of an epoch, short ones included.
    pub fn batches_per_epoch(&self) -> usize {
        self.appearances.values().map(|indices| indices.len().div_ceil(self.batch_size)).sum()
    }

    /// Optimizer steps of an epoch.
    pub fn steps_per_epoch(&self) -> usize {
        self.batches_per_epoch().div_ceil(self.accumulation)
    }

    /// The epoch to which `step` belongs.
    pub fn epoch_of(&self, step: usize) -> usize {
        step / self.steps_per_epoch()
    }

    /// What each bucket contributes, in ascending order of size.
    pub fn bucket_counts(&self) -> Vec<BucketCount> {
        let count = |(&bucket, indices): (&Bucket, &Vec<usize>)| {
            let mut distinct = indices.clone();
            distinct.dedup();
            let batches = indices.len().div_ceil(self.batch_size);
            BucketCount {
                bucket,
                pictures: distinct.len(),
                appearances: indices.len(),
                batches,
                last_batch: indices.len() - (batches - 1) * self.batch_size,
            }
        };
        self.appearances.iter().map(count).collect()
    }

    /// The batches of optimizer step `step`, which counts from 0.
    pub fn micro_batches(&self, step: usize) -> Vec<Batch> {
        let within = step % self.steps_per_epoch();
        let batches = self.epoch(self.epoch_of(step)).into_iter();
        let mut ordinal = 0;
        let mut numbered = |(bucket, samples): (Bucket, Vec<usize>)| {
            let first_ordinal = ordinal;
            ordinal += samples.len();
            Batch { bucket, samples, first_ordinal }
        };
        batches.skip(within * self.accumulation).take(self.accumulation).map(&mut numbered).collect()
    }

    /// All batches of `epoch` in order.
    fn epoch(&self, epoch: usize) -> Vec<(Bucket, Vec<usize>)> {
        let stream = |lane| Stream::new(self.seed, Purpose::EpochOrder, lane, epoch as u32, 0);
        let mut batches = Vec::with_capacity(self.batches_per_epoch());
        for (lane, (&bucket, indices)) in (1..).zip(&self.appearances) {
            let mut shuffled = indices.clone();
            stream(lane).shuffle(&mut shuffled);
            batches.extend(shuffled.chunks(self.batch_size).map(|samples| (bucket, samples.to_vec())));
        }
        stream(0).shuffle(&mut batches);
        batches
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::Crop;
    use proptest::prelude::*;

    /// Samples of `(bucket side, passes)`.
    fn samples(kinds: &[(usize, usize)]) -> Vec<Sample> {
        let sample = |(index, &(side, passes)): (usize, &(usize, usize))| Sample {
            path: format!("{index}.png").into(),
            content_hash: index.to_string(),
            size: (64, 64),
            bucket: Bucket { width: side, height: 64 },
            crop: Crop { x: 0.0, y: 0.0, width: 64.0, height: 64.0 },
            captions: vec!["a picture".into()],
            wording: Default::default(),
            passes,
        };
        kinds.iter().enumerate().map(sample).collect()
    }

    fn options(batch_size: usize, accumulation: usize, length: Length) -> ScheduleOptions {
        ScheduleOptions { seed: 42, batch_size, gradient_accumulation_steps: accumulation, length }
    }

    #[test]
    fn short_batches_are_kept_short() {
        let samples = samples(&[(64, 1), (64, 1), (64, 3), (128, 2)]);
        let schedule = Schedule::new(&samples, &options(4, 2, Length::Epochs(3))).unwrap();
        assert_eq!(schedule.batches_per_epoch(), 3);
        assert_eq!((schedule.steps_per_epoch(), schedule.total_steps()), (2, 6));
        assert_eq!([0, 1, 2, 5].map(|step| schedule.epoch_of(step)), [0, 0, 1, 2]);
        let mut sizes: Vec<usize> =
            [0, 1].iter().flat_map(|&s| schedule.micro_batches(s)).map(|b| b.samples.len()).collect();
        sizes.sort_unstable();
        assert_eq!(sizes, [1, 2, 4]);
        let counts = schedule.bucket_counts();
        assert_eq!(
            (counts[0].pictures, counts[0].appearances, counts[0].batches, counts[0].last_batch),
            (3, 5, 2, 1)
        );
        assert_eq!(
            (counts[1].pictures, counts[1].appearances, counts[1].batches, counts[1].last_batch),
            (1, 2, 1, 2)
        );
    }

    #[test]
    fn epochs_differ_and_repeat_with_the_seed() {
        let samples = samples(&[(64, 1); 40]);
        let schedule = Schedule::new(&samples, &options(4, 1, Length::Steps(100))).unwrap();
        let epoch = |n: usize| (0..10).flat_map(|s| schedule.micro_batches(10 * n + s)).collect::<Vec<_>>();
        assert_eq!(epoch(1), epoch(1));
        assert_ne!(epoch(0), epoch(1));
        let other = ScheduleOptions { seed: 43, ..options(4, 1, Length::Steps(100)) };
        let other = Schedule::new(&samples, &other).unwrap();
        assert_ne!(schedule.micro_batches(0), other.micro_batches(0));
    }

    #[test]
    fn the_length_of_a_run_does_not_change_its_steps() {
        let samples = samples(&[(64, 2), (64, 1), (96, 5)]);
        let short = Schedule::new(&samples, &options(2, 2, Length::Steps(5))).unwrap();
        let long = Schedule::new(&samples, &options(2, 2, Length::Epochs(50))).unwrap();
        assert!((0..20).all(|step| short.micro_batches(step) == long.micro_batches(step)));
    }

    #[test]
    fn sizes_of_zero_and_endless_runs_are_refused() {
        let samples = samples(&[(64, 1)]);
        let refused = |options| Schedule::new(&samples, &options).unwrap_err().place;
        assert!(refused(options(0, 1, Length::Steps(1))).contains("train_batch_size"));
        assert!(refused(options(1, 0, Length::Steps(1))).contains("gradient_accumulation_steps"));
        assert!(refused(options(1, 1, Length::Steps(0))).contains("max_train_steps"));
        assert!(refused(options(1, 1, Length::Epochs(0))).contains("num_train_epochs"));
        assert!(refused(options(1, 1, Length::Epochs(usize::MAX))).contains("num_train_epochs"));
        assert!(Schedule::new(&[], &options(1, 1, Length::Steps(1))).is_err());
    }

    proptest! {
        #[test]
        fn every_epoch_shows_every_sample_as_often_as_its_passes_say(
            kinds in prop::collection::vec((prop::sample::select(vec![64usize, 96, 128]), 1usize..5), 1..30),
            batch_size in 1usize..7, accumulation in 1usize..4, seed: u64, epoch in 0usize..1000,
        ) {
            let samples = samples(&kinds);
            let options = ScheduleOptions { seed, ..options(batch_size, accumulation, Length::Epochs(1)) };
            let schedule = Schedule::new(&samples, &options).unwrap();
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
                        *short.entry(batch.bucket).or_insert(0) += 1;
                    }
                    for &index in &batch.samples {
                        prop_assert_eq!(samples[index].bucket, batch.bucket);
                        shown[index] += 1;
                    }
                    batches += 1;
                }
            }
            prop_assert_eq!(batches, schedule.batches_per_epoch());
            prop_assert!(short.values().all(|&count| count == 1));
            for (sample, count) in samples.iter().zip(shown) {
                prop_assert_eq!(count, sample.passes);
            }
        }
    }
}
