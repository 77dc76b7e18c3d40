//! What a card can hold: the resolution that suits the pictures, then batch, recompute policy and optimizer.

use super::draft::Draft;
use super::{Reason, reason};
use crate::autograd::recompute::Recompute;
use crate::dataset::{FoundPicture, buckets_at};
use crate::device::Limits;
use crate::error::Result;
use crate::models::mmdit::MmditConfig;
use crate::run::Opened;
use crate::settings::OptimizerKind;
use crate::train::memory::MemoryPlan;
use crate::train::recipe::Recipe;
use serde_json::{Value, json};

/// Resolutions, from the best.
const RESOLUTIONS: [usize; 6] = [1024, 768, 512, 256, 128, 64];
/// Below this, the released models draw badly.
const SMALLEST_OF_RELEASES: usize = 512;
/// A picture may be enlarged by as much as this without much harm.
const ENLARGED: f64 = 1.05;
/// The share of pictures that are not to be enlarged by more.
const MOST: f64 = 0.9;

/// Policies from the fastest. Repeating work costs more time than a smaller batch does, so that the batch shrinks
/// first.
const POLICIES: [Recompute; 3] = [Recompute::Store, Recompute::Selective, Recompute::Lean];
/// Optimizers from the most exact.
const OPTIMIZERS: [OptimizerKind; 2] = [OptimizerKind::AdamW, OptimizerKind::AdamW8bit];

/// The resolutions worth trying, the best for these pictures first, each with what speaks for it.
pub fn resolutions(config: &MmditConfig, pictures: &[FoundPicture]) -> Vec<(usize, String)> {
    let is_release = config.release().ends_with("Large") || config.release().ends_with("Medium");
    let smallest = if is_release { SMALLEST_OF_RELEASES } else { 0 };
    let fits = |resolution: &usize| {
        let sides = buckets_at(*resolution).unwrap_or_default().into_iter();
        *resolution >= smallest && sides.map(|b| b.width.max(b.height)).max() <= Some(config.max_side())
    };
    let possible: Vec<usize> = RESOLUTIONS.into_iter().filter(fits).collect();
    let share = |resolution: usize| {
        let edge = |picture: &&FoundPicture| (f64::from(picture.size.0) * f64::from(picture.size.1)).sqrt();
        let large = pictures.iter().filter(|picture| edge(picture) * ENLARGED >= resolution as f64).count();
        large as f64 / pictures.len().max(1) as f64
    };
    let useful = |resolution: &usize| share(*resolution) >= MOST;
    let best = possible.iter().position(useful).unwrap_or(possible.len().saturating_sub(1));
    let why = |resolution: usize| match (100.0 * share(resolution)).floor() {
        share if share >= 100.0 * MOST => {
            format!("{share} % of the pictures are that large or larger")
        }
        share => format!("the least for this model, though {} % of the pictures are smaller", 100.0 - share),
    };
    possible.into_iter().skip(best).map(|resolution| (resolution, why(resolution))).collect()
}

/// What fits.
pub struct Fit {
    batch: usize,
    accumulation: usize,
    optimizer: OptimizerKind,
    memory: MemoryPlan,
}

/// The fastest way to train on `wanted` pictures a step within the memory of `limits`; else the bytes that the
/// smallest needs.
pub fn best(
    opened: &mut Opened,
    draft: &Draft,
    wanted: usize,
    limits: &Limits,
) -> Result<std::result::Result<Fit, usize>> {
    let unlimited = Limits { memory: u64::MAX, ..*limits };
    let mut smallest = usize::MAX;
    for optimizer in one_or_all(draft, "optimizer", opened.settings.optimizer, &OPTIMIZERS) {
        opened.settings.optimizer = optimizer;
        let total = opened.schedule.total_steps() as u64;
        opened.recipe = Recipe::new(&opened.settings, &opened.config, total)?;
        for policy in opened.policy().map_or(POLICIES.to_vec(), |policy| vec![policy]) {
            let batches: Vec<usize> = [4, 2, 1].into_iter().filter(|&batch| batch <= wanted).collect();
            for batch in one_or_all(draft, "train_batch_size", opened.settings.train_batch_size, &batches) {
                let steady = opened.settings.gradient_accumulation_steps;
                let accumulation =
                    if draft.is_given(ACCUMULATION) { steady } else { (wanted / batch).max(1) };
                opened.settings.gradient_accumulation_steps = accumulation;
                let memory = opened.memory_of_batch(batch, policy, &unlimited)?;
                if memory.total() as u64 <= limits.memory {
                    return Ok(Ok(Fit { batch, accumulation, optimizer, memory }));
                }
                smallest = smallest.min(memory.total());
            }
        }
    }
    Ok(Err(smallest))
}

const ACCUMULATION: &str = "gradient_accumulation_steps";

/// What the user has given, else all candidates.
fn one_or_all<T: Copy>(draft: &Draft, key: &str, given: T, all: &[T]) -> Vec<T> {
    if draft.is_given(key) { vec![given] } else { all.to_vec() }
}

impl Fit {
    /// What follows for the settings. The policy is chosen anew by the memory that is free when the run begins.
    pub fn settings(&self) -> Vec<(&'static str, Value)> {
        vec![
            ("train_batch_size", json!(self.batch)),
            (ACCUMULATION, json!(self.accumulation)),
            ("optimizer", json!(self.optimizer.name())),
            ("recompute", json!("auto")),
        ]
    }

    /// Why.
    pub fn reasons(&self, limits: &Limits) -> Vec<Reason> {
        let (needs, may) = (size(self.memory.total() as u64), size(limits.memory));
        let why = format!("needs {needs} of {may}");
        let accumulated = match self.accumulation {
            1 => "a batch is a step".to_owned(),
            count => format!("{count} batches make a step of {} pictures", count * self.batch),
        };
        let policy = match self.memory.recompute {
            Recompute::Store => "nothing is computed twice here; chosen at the start",
            Recompute::Selective => "here `selective`; chosen at the start",
            _ => "here `lean`; chosen at the start",
        };
        let optimizer = match self.optimizer {
            OptimizerKind::AdamW8bit => "its states in 8 bits, else it would not fit",
            _ => "its states in full precision fit",
        };
        vec![
            reason("train_batch_size", self.batch, why),
            reason(ACCUMULATION, self.accumulation, accumulated),
            reason("recompute", "auto", policy),
            reason("optimizer", self.optimizer.name(), optimizer),
        ]
    }
}

/// Bytes for people.
fn size(bytes: u64) -> String {
    match bytes as f64 {
        bytes if bytes >= 1e9 => format!("{:.1} GiB", bytes / f64::from(1 << 30)),
        bytes => format!("{:.1} MiB", bytes / f64::from(1 << 20)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pictures(sizes: &[(u32, u32)]) -> Vec<FoundPicture> {
        let picture = |&size| FoundPicture { path: "x.png".into(), size, caption: None };
        sizes.iter().map(picture).collect()
    }

    fn resolutions_for(config: &MmditConfig, sizes: &[(u32, u32)]) -> Vec<usize> {
        resolutions(config, &pictures(sizes)).into_iter().map(|(resolution, _)| resolution).collect()
    }

    #[test]
    fn pictures_are_not_enlarged_where_a_smaller_resolution_does() {
        let large = MmditConfig::large();
        assert_eq!(resolutions_for(&large, &[(2000, 3000); 10]), [1024, 768, 512]);
        assert_eq!(resolutions_for(&large, &[(1000, 1000); 10]), [1024, 768, 512]);
        assert_eq!(resolutions_for(&large, &[(800, 800); 10]), [768, 512]);
        assert_eq!(resolutions_for(&large, &[(100, 100); 10]), [512]);
        let mostly = [&[(2000, 2000); 9][..], &[(300, 300)]].concat();
        assert_eq!(resolutions_for(&large, &mostly)[0], 1024);
    }

    #[test]
    fn a_model_is_given_no_picture_larger_than_its_positions() {
        let small = MmditConfig { depth: 4, width: 128, position_size: 24, ..MmditConfig::large() };
        assert_eq!(resolutions_for(&small, &[(2000, 2000)]), [256, 128, 64]);
    }

    #[test]
    fn what_speaks_for_a_resolution_is_told() {
        let large = MmditConfig::large();
        assert!(resolutions(&large, &pictures(&[(2000, 2000)]))[0].1.starts_with("100 %"));
        assert!(
            resolutions(&large, &pictures(&[(100, 100)]))[0].1.contains("100 % of the pictures are smaller")
        );
    }
}
