//! The arithmetic of steps: what every bucket of every data set contributes to an epoch, how many steps that
//! makes, and what other trainers would make of the same numbers. Whatever counts steps asks here.
//!
//! In an epoch every picture of a data set is shown as often as its repeats say. A batch holds pictures of one
//! data set and one bucket, and the last batch of a bucket may be short. A data set whose `probability` is not 1
//! gives that many times its batches to an epoch, and goes on in the next where it stopped.

use super::Bucket;
use crate::error::{Error, Result};
use serde::Serialize;

/// How long to train.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Length {
    /// So many optimizer steps.
    Steps(usize),
    /// So many epochs.
    Epochs(usize),
}

/// How often pictures are repeated, as the user wrote it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repeats {
    /// Passes beside the first: SimpleTuner's `repeats`.
    Extra(usize),
    /// All passes: kohya's `num_repeats`.
    Passes(usize),
}

/// By what the share of a data set in an epoch is weighted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sampling {
    /// Its batches, times its probability.
    #[default]
    BySize,
    /// Its probability alone.
    Uniform,
}

/// How often a data set is shown.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Share {
    /// Repeats in an epoch.
    pub repeats: Repeats,
    /// Weight against the other data sets; 1 is neutral.
    pub probability: f64,
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
    /// How data sets share an epoch.
    pub sampling: Sampling,
    /// Whether every pass begins its buckets anew and fills the last batch of each with pictures drawn again, as
    /// SimpleTuner's sampler does; otherwise all passes over a bucket together leave one short batch.
    pub fill_short_batches: bool,
}

/// The pictures of a data set, counted.
#[derive(Debug, Clone, PartialEq)]
pub struct SetCount {
    /// The data set's name.
    pub id: String,
    /// How often it is shown.
    pub share: Share,
    /// Pictures in each bucket, none of them empty.
    pub buckets: Vec<(Bucket, usize)>,
}

/// What a bucket of a data set contributes to a pass through that set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GroupSteps {
    /// The data set's place in the list.
    pub set: usize,
    /// The bucket.
    pub bucket: Bucket,
    /// Different pictures.
    pub pictures: usize,
    /// Passes over them.
    pub passes: usize,
    /// Appearances of pictures, those drawn again to fill a batch included.
    pub appearances: usize,
    /// Batches.
    pub batches: usize,
    /// Batches with fewer samples than a full one.
    pub short_batches: usize,
    /// Samples of the last batch.
    pub last_batch: usize,
}

/// What a data set contributes to an epoch.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SetSteps {
    /// The data set's name.
    pub id: String,
    /// Different pictures.
    pub pictures: usize,
    /// The number of repeats as the user wrote it.
    pub repeats_as_written: usize,
    /// Passes in an epoch here: those that SimpleTuner makes of `repeats`, kohya of `num_repeats`.
    pub passes: usize,
    /// Passes if kohya had read the number.
    pub passes_in_kohya: usize,
    /// Its probability.
    pub probability: f64,
    /// Batches of all its passes.
    pub batches: usize,
    /// How many of them are short.
    pub short_batches: usize,
    /// Batches that an epoch takes of it.
    pub batches_per_epoch: usize,
}

/// What others would make of the same data sets; optimizer steps in an epoch.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Readings {
    /// Pictures times repeats as written, over the batch size, as tutorials compute it.
    pub formula: f64,
    /// The same rounded down.
    pub formula_rounded_down: usize,
    /// The same rounded up.
    pub formula_rounded_up: usize,
    /// What SimpleTuner announces: each bucket's appearances in batches, buckets with less than one batch left out.
    pub simpletuner_estimate: usize,
    /// What SimpleTuner's sampler does: every pass begins the buckets anew and fills short batches.
    pub simpletuner_sampler: usize,
    /// What kohya does when it reads the repeats as passes.
    pub kohya: usize,
}

/// See the module's documentation.
#[derive(Debug, Clone, PartialEq)]
pub struct Steps {
    /// Every bucket of every data set, in the order of the sets, buckets in ascending order of size.
    pub groups: Vec<GroupSteps>,
    /// Every data set.
    pub sets: Vec<SetSteps>,
    /// Batches of an epoch.
    pub batches_per_epoch: usize,
    /// Optimizer steps of an epoch.
    pub steps_per_epoch: usize,
    /// Optimizer steps of the run.
    pub total_steps: usize,
    /// What others would make of it.
    pub readings: Readings,
}

impl Repeats {
    /// Passes in an epoch.
    pub fn passes(self) -> usize {
        match self {
            Self::Extra(extra) => extra.saturating_add(1),
            Self::Passes(passes) => passes,
        }
    }

    /// The number as it was written.
    pub fn as_written(self) -> usize {
        match self {
            Self::Extra(number) | Self::Passes(number) => number,
        }
    }
}

impl Default for Share {
    /// Once in an epoch.
    fn default() -> Self {
        Self { repeats: Repeats::Extra(0), probability: 1.0 }
    }
}

impl Steps {
    /// Counts the steps of a run.
    ///
    /// # Errors
    /// No pictures, a set that is never shown, or a size or length of zero or beyond 2^32 steps.
    pub fn count(sets: &[SetCount], options: &ScheduleOptions) -> Result<Self> {
        let positive = |key, value| match value {
            0 => Err(Error::setting(key, "must be at least 1")),
            _ => Ok(value),
        };
        let batch_size = positive("train_batch_size", options.batch_size)?;
        let accumulation = positive("gradient_accumulation_steps", options.gradient_accumulation_steps)?;
        sets.iter().try_for_each(refuse_never_shown)?;
        if sets.iter().all(|set| set.buckets.is_empty()) {
            return Err(Error::setting("data_backend_config", "names no pictures to train on"));
        }
        let groups: Vec<GroupSteps> = sets
            .iter()
            .enumerate()
            .flat_map(|(index, set)| set.buckets.iter().map(move |bucket| (index, set, bucket)))
            .map(|(index, set, &bucket)| group(index, set, bucket, batch_size, options.fill_short_batches))
            .collect();
        let sets_steps = set_steps(sets, &groups, options.sampling);
        let batches_per_epoch: usize = sets_steps.iter().map(|set| set.batches_per_epoch).sum();
        let steps_per_epoch = batches_per_epoch.div_ceil(accumulation);
        Ok(Self {
            groups,
            sets: sets_steps,
            batches_per_epoch,
            steps_per_epoch,
            total_steps: total_steps(options.length, steps_per_epoch)?,
            readings: Readings::of(sets, batch_size, accumulation),
        })
    }

    /// Epochs that the run reaches.
    pub fn epochs(&self) -> f64 {
        self.total_steps as f64 / self.steps_per_epoch as f64
    }
}

fn refuse_never_shown(set: &SetCount) -> Result<()> {
    let cause = || format!("0, so data set `{}` is never shown", set.id);
    let cure = "leave the entry out with \"disabled\": true, or set it above 0";
    if set.share.repeats.passes() == 0 {
        return Err(Error::setting("num_repeats", cause()).hint(cure));
    }
    if set.share.probability > 0.0 && set.share.probability.is_finite() {
        return Ok(());
    }
    Err(Error::setting("probability", cause()).hint(cure))
}

fn group(
    set: usize,
    count: &SetCount,
    (bucket, pictures): (Bucket, usize),
    batch_size: usize,
    fill: bool,
) -> GroupSteps {
    let passes = count.share.repeats.passes();
    if fill {
        let batches = passes * pictures.div_ceil(batch_size);
        let appearances = batches * batch_size;
        let (short_batches, last_batch) = (0, batch_size);
        return GroupSteps { set, bucket, pictures, passes, appearances, batches, short_batches, last_batch };
    }
    let appearances = pictures * passes;
    let batches = appearances.div_ceil(batch_size);
    let last_batch = appearances - (batches - 1) * batch_size;
    let short_batches = usize::from(last_batch < batch_size);
    GroupSteps { set, bucket, pictures, passes, appearances, batches, short_batches, last_batch }
}

fn set_steps(sets: &[SetCount], groups: &[GroupSteps], sampling: Sampling) -> Vec<SetSteps> {
    let of_set = |(index, set): (usize, &SetCount)| {
        let groups = || groups.iter().filter(move |group| group.set == index);
        let batches = groups().map(|group| group.batches).sum();
        SetSteps {
            id: set.id.clone(),
            pictures: groups().map(|group| group.pictures).sum(),
            repeats_as_written: set.share.repeats.as_written(),
            passes: set.share.repeats.passes(),
            passes_in_kohya: set.share.repeats.as_written(),
            probability: set.share.probability,
            batches,
            short_batches: groups().map(|group| group.short_batches).sum(),
            batches_per_epoch: batches,
        }
    };
    let mut sets: Vec<SetSteps> = sets.iter().enumerate().map(of_set).collect();
    let all: usize = sets.iter().map(|set| set.batches).sum();
    let weights: f64 = sets.iter().filter(|set| set.batches > 0).map(|set| set.probability).sum();
    for set in sets.iter_mut().filter(|set| set.batches > 0) {
        let share = match sampling {
            Sampling::BySize => set.probability * set.batches as f64,
            Sampling::Uniform => all as f64 * set.probability / weights,
        };
        set.batches_per_epoch = (share.round() as usize).max(1);
    }
    sets
}

fn total_steps(length: Length, steps_per_epoch: usize) -> Result<usize> {
    let (key, total) = match length {
        Length::Steps(steps) => ("max_train_steps", Some(steps)),
        Length::Epochs(epochs) => ("num_train_epochs", epochs.checked_mul(steps_per_epoch)),
    };
    match total {
        Some(0) => Err(Error::setting(key, "must be at least 1")),
        // Random draws are numbered by 32-bit steps.
        Some(steps) if u32::try_from(steps).is_ok() => Ok(steps),
        _ => Err(Error::setting(key, "asks for more than 2^32 steps").hint("ask for fewer")),
    }
}

impl Readings {
    fn of(sets: &[SetCount], batch_size: usize, accumulation: usize) -> Self {
        let groups =
            || sets.iter().flat_map(|set| set.buckets.iter().map(move |&(_, n)| (set.share.repeats, n)));
        let steps = |batches: usize| batches.div_ceil(accumulation);
        // A number of repeats of 0 is one pass to whoever counts passes.
        let written = |repeats: Repeats| repeats.as_written().max(1);
        let shown: usize = groups().map(|(repeats, n)| n * written(repeats)).sum();
        let estimated =
            groups().map(|(repeats, n)| n * repeats.passes()).filter(|&shown| shown >= batch_size);
        Self {
            formula: shown as f64 / batch_size as f64,
            formula_rounded_down: shown / batch_size,
            formula_rounded_up: shown.div_ceil(batch_size),
            simpletuner_estimate: steps(estimated.map(|shown| shown.div_ceil(batch_size)).sum()),
            simpletuner_sampler: steps(
                groups().map(|(repeats, n)| repeats.passes() * n.div_ceil(batch_size)).sum(),
            ),
            kohya: steps(groups().map(|(repeats, n)| (n * written(repeats)).div_ceil(batch_size)).sum()),
        }
    }
}

#[cfg(test)]
mod tests;
