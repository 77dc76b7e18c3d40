//! Which samples an optimizer step sees: a pure function of the seed and the step, so that a resumed run
//! sees what the uninterrupted one would have seen.
//!
//! How much each data set gives to an epoch is said in [`super::steps`]. Within a data set, a bucket's appearances
//! are shuffled and cut into batches; then the batches of all buckets and data sets are shuffled. An optimizer step
//! takes `gradient_accumulation_steps` batches, the last step of an epoch what is left.

use super::steps::{GroupSteps, ScheduleOptions, SetCount, Steps};
use super::{Bucket, Sample, Source};
use crate::error::Result;
use crate::random::{Purpose, Stream};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Samples of one data set and one bucket that go through the model together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// The place of their data set in the list.
    pub source: usize,
    /// Their size.
    pub bucket: Bucket,
    /// Their indices in the dataset.
    pub samples: Vec<usize>,
    /// Ordinal in the optimizer step of the first of them; draws are told apart by (step, ordinal).
    pub first_ordinal: usize,
}

/// The batches of an epoch in order, each with its group.
type Epoch = Vec<(usize, Vec<usize>)>;

/// See the module's documentation. Steps and epochs count from 0.
#[derive(Debug)]
pub struct Schedule {
    seed: u64,
    batch_size: usize,
    accumulation: usize,
    fills: bool,
    steps: Steps,
    /// Sample indices of each of the groups that [`Steps`] counts.
    members: Vec<Vec<usize>>,
    /// The epoch that was asked for last: step after step asks for the same.
    last: Mutex<Option<(usize, Arc<Epoch>)>>,
}

impl Schedule {
    /// The schedule of `samples`, which come from `sources`.
    ///
    /// # Errors
    /// Those of [`Steps::count`].
    pub fn new(samples: &[Sample], sources: &[Source], options: &ScheduleOptions) -> Result<Self> {
        let mut groups: BTreeMap<(usize, Bucket), Vec<usize>> = BTreeMap::new();
        for (index, sample) in samples.iter().enumerate().filter(|(_, sample)| !sample.held_out) {
            groups.entry((sample.source, sample.bucket)).or_default().push(index);
        }
        let count = |(index, source): (usize, &Source)| SetCount {
            id: source.id.clone(),
            share: source.share,
            buckets: groups
                .iter()
                .filter(|((set, _), _)| *set == index)
                .map(|((_, bucket), members)| (*bucket, members.len()))
                .collect(),
        };
        let counts: Vec<SetCount> = sources.iter().enumerate().map(count).collect();
        Ok(Self {
            seed: options.seed,
            batch_size: options.batch_size,
            accumulation: options.gradient_accumulation_steps,
            fills: options.fill_short_batches,
            steps: Steps::count(&counts, options)?,
            members: groups.into_values().collect(),
            last: Mutex::new(None),
        })
    }

    /// The arithmetic behind it.
    pub fn steps(&self) -> &Steps {
        &self.steps
    }

    /// Optimizer steps of the whole run.
    pub fn total_steps(&self) -> usize {
        self.steps.total_steps
    }

    /// Batches of an epoch, short ones included.
    pub fn batches_per_epoch(&self) -> usize {
        self.steps.batches_per_epoch
    }

    /// Optimizer steps of an epoch.
    pub fn steps_per_epoch(&self) -> usize {
        self.steps.steps_per_epoch
    }

    /// The epoch to which `step` belongs.
    pub fn epoch_of(&self, step: usize) -> usize {
        step / self.steps_per_epoch()
    }

    /// What each bucket of each data set contributes.
    pub fn groups(&self) -> &[GroupSteps] {
        &self.steps.groups
    }

    /// The batches of optimizer step `step`, which counts from 0.
    pub fn micro_batches(&self, step: usize) -> Vec<Batch> {
        let within = step % self.steps_per_epoch();
        let epoch = self.epoch(self.epoch_of(step));
        let mut ordinal = 0;
        let numbered = |(group, samples): &(usize, Vec<usize>)| {
            let first_ordinal = ordinal;
            ordinal += samples.len();
            let GroupSteps { set, bucket, .. } = self.steps.groups[*group];
            Batch { source: set, bucket, samples: samples.clone(), first_ordinal }
        };
        epoch.iter().skip(within * self.accumulation).take(self.accumulation).map(numbered).collect()
    }

    /// All batches of `epoch` in order.
    fn epoch(&self, epoch: usize) -> Arc<Epoch> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((number, batches)) = &*last
            && *number == epoch
        {
            return batches.clone();
        }
        let mut batches = Epoch::with_capacity(self.batches_per_epoch());
        (0..self.steps.sets.len()).for_each(|set| batches.extend(self.batches_of_set(set, epoch)));
        self.stream(0, epoch, 0).shuffle(&mut batches);
        let batches = Arc::new(batches);
        *last = Some((epoch, batches.clone()));
        batches
    }

    /// What `epoch` takes of a data set: all its batches, or as many as its probability says, from where the epoch
    /// before it stopped.
    fn batches_of_set(&self, set: usize, epoch: usize) -> Epoch {
        let (all, taken) = (self.steps.sets[set].batches, self.steps.sets[set].batches_per_epoch);
        if all == taken {
            return self.round(set, epoch);
        }
        let mut batches = Epoch::with_capacity(taken);
        let mut next = epoch * taken;
        while batches.len() < taken {
            let (round, from) = (next / all, next % all);
            let mut order = self.round(set, round);
            self.stream(1 + self.members.len() + set, round, 0).shuffle(&mut order);
            let some = order.into_iter().skip(from).take(taken - batches.len());
            batches.extend(some);
            next = epoch * taken + batches.len();
        }
        batches
    }

    /// All batches of the passes over a data set, bucket by bucket.
    fn round(&self, set: usize, round: usize) -> Epoch {
        let mut batches = Epoch::new();
        for (index, group) in self.steps.groups.iter().enumerate().filter(|(_, group)| group.set == set) {
            let of_group =
                if self.fills { self.filled(index, group, round) } else { self.shared(index, group, round) };
            batches.extend(of_group.into_iter().map(|samples| (index, samples)));
        }
        batches
    }

    /// The passes over a group shuffled together, which leaves one short batch.
    fn shared(&self, index: usize, group: &GroupSteps, round: usize) -> Vec<Vec<usize>> {
        let members = self.members[index].iter();
        let mut shown: Vec<usize> =
            members.flat_map(|&sample| std::iter::repeat_n(sample, group.passes)).collect();
        self.stream(1 + index, round, 0).shuffle(&mut shown);
        shown.chunks(self.batch_size).map(<[usize]>::to_vec).collect()
    }

    /// Each pass over a group by itself, its last batch filled with samples drawn again.
    fn filled(&self, index: usize, group: &GroupSteps, round: usize) -> Vec<Vec<usize>> {
        let members = &self.members[index];
        let mut batches = Vec::with_capacity(group.batches);
        for pass in 0..group.passes {
            let stream = self.stream(1 + index, round, pass + 1);
            let mut shown = members.clone();
            stream.shuffle(&mut shown);
            let missing = shown.len().next_multiple_of(self.batch_size) - shown.len();
            // The shuffle used the draws before these.
            let drawn = |extra| members[stream.below(members.len() + extra, members.len())];
            shown.extend((0..missing).map(drawn));
            batches.extend(shown.chunks(self.batch_size).map(<[usize]>::to_vec));
        }
        batches
    }

    /// Draws of one lane: 0 is the epoch's, then come the groups, then the data sets.
    fn stream(&self, lane: usize, epoch: usize, pass: usize) -> Stream {
        Stream::new(self.seed, Purpose::EpochOrder, lane as u32, epoch as u32, pass as u32)
    }
}

#[cfg(test)]
mod tests;
