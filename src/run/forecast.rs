//! What a run would do, without doing it: pictures, steps, memory and disk.

use crate::autograd::recompute::Recompute;
use crate::dataset::{Bucket, GroupSteps, Readings, SetSteps};
use crate::device::Limits;
use crate::error::Result;
use crate::models::text::{GROUP, TextEncoders};
use crate::models::vae::Footprint;
use crate::run::pace::Pace;
use crate::run::{Opened, disk, epoch_texts};
use crate::train::memory::MemoryPlan;
use serde::Serialize;

/// See the module's documentation. Bytes throughout.
#[derive(Debug, Clone, Serialize)]
pub struct Forecast {
    /// The release that the model's sizes are those of.
    pub model: &'static str,
    /// What each bucket of each data set contributes.
    pub buckets: Vec<BucketReport>,
    /// What each data set contributes to an epoch.
    pub data_sets: Vec<DataSetReport>,
    /// Batches of an epoch.
    pub batches_per_epoch: usize,
    /// Optimizer steps of an epoch.
    pub steps_per_epoch: usize,
    /// Optimizer steps of the run.
    pub total_steps: usize,
    /// Epochs that the run reaches.
    pub epochs: f64,
    /// Optimizer steps of an epoch as others would count them.
    pub readings: Readings,
    /// Linear layers with an adapter.
    pub adapted_layers: usize,
    /// Numbers that are trained.
    pub trainable_parameters: usize,
    /// Texts to encode.
    pub captions: CaptionReport,
    /// Memory, or why it does not suffice.
    pub memory: MemoryReport,
    /// Disk.
    pub disk: DiskReport,
    /// What other policies and, where memory is limited, smaller batches would need.
    pub alternatives: Vec<Alternative>,
    /// Steps from the first to the last, evenly spread, and their learning rates.
    pub learning_rate: Vec<(u64, f64)>,
    /// How long training takes, if steps like these were measured.
    pub time: Option<Pace>,
}

/// One data set.
#[derive(Debug, Clone, Serialize)]
pub struct DataSetReport {
    /// What it contributes to an epoch.
    #[serde(flatten)]
    pub steps: SetSteps,
    /// Views that are encoded of its pictures.
    pub views: usize,
}

/// One bucket of one data set.
#[derive(Debug, Clone, Serialize)]
pub struct BucketReport {
    /// The data set.
    pub data_set: String,
    /// Width in pixels.
    pub width: usize,
    /// Height in pixels.
    pub height: usize,
    /// Different pictures.
    pub pictures: usize,
    /// Passes over them.
    pub passes: usize,
    /// Appearances in all passes.
    pub appearances: usize,
    /// Batches of all passes.
    pub batches: usize,
    /// How many of them have fewer samples than a full one.
    pub short_batches: usize,
    /// Samples of the last batch.
    pub last_batch: usize,
}

/// Texts to encode, and when.
#[derive(Debug, Clone, Serialize)]
pub struct CaptionReport {
    /// Captions that never vary, prompts and the empty text: once, before training.
    pub before_training: usize,
    /// Captions that read differently each time: between epochs, as many at most.
    pub an_epoch_at_most: usize,
    /// Of those, the different ones of the first epoch; none where counting them takes long.
    pub first_epoch: Option<usize>,
    /// Of those, what is encoded and kept at one time at most.
    pub at_a_time: usize,
}

/// Memory by purpose.
#[derive(Debug, Clone, Serialize)]
pub struct MemoryReport {
    /// What training keeps.
    #[serde(flatten)]
    pub plan: MemoryPlan,
    /// All of that together.
    pub training_peak: usize,
    /// Encoding a picture of the largest bucket, before training.
    pub vae_peak: usize,
    /// Encoding captions, before training.
    pub text_encoder_peak: usize,
    /// Memory of the device, if it was given.
    pub limit: Option<u64>,
}

/// Disk.
#[derive(Debug, Clone, Serialize)]
pub struct DiskReport {
    /// Latents and embeddings.
    pub caches: u64,
    /// Checkpoints and the LoRA.
    pub checkpoints: u64,
}

/// Settings that a run could have instead, and what it would then need.
#[derive(Debug, Clone, Serialize)]
pub struct Alternative {
    /// Samples of a batch.
    pub train_batch_size: usize,
    /// Recompute policy.
    pub recompute: &'static str,
    /// Everything while training.
    pub training_peak: usize,
    /// Whether that fits.
    pub fits: bool,
}

/// Learning rates that a forecast tells.
const LEARNING_RATES: u64 = 128;

/// The learning rates of `opened` at up to `count` steps, the first and the last among them. Steps count from 1.
pub fn learning_rate(opened: &Opened, count: u64) -> Vec<(u64, f64)> {
    let last = (opened.schedule.total_steps() as u64).saturating_sub(1);
    let parts = last.min(count.saturating_sub(1)).max(1);
    let mut steps: Vec<u64> = (0..=parts).map(|part| part * last / parts).collect();
    steps.dedup();
    steps.into_iter().map(|step| (step + 1, opened.recipe.learning_rate.at(step))).collect()
}

/// Forecasts `opened` for a device with `limits`, of whose memory at most `limit` may be used.
pub fn forecast(opened: &Opened, limits: &Limits, limit: Option<u64>) -> Result<Forecast> {
    let schedule = &opened.schedule;
    let unlimited = Limits { memory: u64::MAX, ..*limits };
    let budget = limit.unwrap_or(limits.memory);
    let plan = |policy: Recompute| Ok(opened.programs(Some(policy), &unlimited)?.1);
    let policies = [Recompute::Store, Recompute::Selective, Recompute::Lean];
    let plans = policies.into_iter().map(plan).collect::<Result<Vec<MemoryPlan>>>()?;
    let fits = |memory: &MemoryPlan| memory.total() as u64 <= budget;
    let fastest = || plans.iter().find(|memory| fits(memory)).unwrap_or(&plans[plans.len() - 1]);
    let chosen = opened.policy().map_or_else(|| Ok(*fastest()), plan)?;
    let steps = schedule.steps();
    let bucket = |group: &GroupSteps| BucketReport {
        data_set: steps.sets[group.set].id.clone(),
        width: group.bucket.width,
        height: group.bucket.height,
        pictures: group.pictures,
        passes: group.passes,
        appearances: group.appearances,
        batches: group.batches,
        short_batches: group.short_batches,
        last_batch: group.last_batch,
    };
    Ok(Forecast {
        model: opened.config.release(),
        buckets: steps.groups.iter().map(bucket).collect(),
        data_sets: data_sets(opened),
        batches_per_epoch: steps.batches_per_epoch,
        steps_per_epoch: steps.steps_per_epoch,
        total_steps: steps.total_steps,
        epochs: steps.epochs(),
        readings: steps.readings,
        adapted_layers: opened.recipe.adapters.all.len(),
        trainable_parameters: opened.persistent.trainable(),
        captions: captions(opened),
        memory: memory_report(opened, &chosen, limits, limit)?,
        disk: DiskReport { caches: disk::cache_bytes(opened), checkpoints: disk::checkpoint_bytes(opened) },
        alternatives: alternatives(opened, &plans, &unlimited, budget, limit.is_some())?,
        learning_rate: learning_rate(opened, LEARNING_RATES),
        time: None,
    })
}

fn data_sets(opened: &Opened) -> Vec<DataSetReport> {
    let of_set = |(index, steps): (usize, &SetSteps)| {
        let samples = opened.dataset.samples.iter().filter(|sample| sample.source == index);
        DataSetReport { steps: steps.clone(), views: samples.map(|sample| sample.views.len()).sum() }
    };
    opened.schedule.steps().sets.iter().enumerate().map(of_set).collect()
}

/// The policies at the batch size that is set; with a limit, also at half of it, a quarter, down to one sample.
fn alternatives(
    opened: &Opened,
    plans: &[MemoryPlan],
    unlimited: &Limits,
    budget: u64,
    limited: bool,
) -> Result<Vec<Alternative>> {
    let batch = opened.settings.train_batch_size;
    let alternative = |batch: usize, memory: &MemoryPlan| Alternative {
        train_batch_size: batch,
        recompute: memory.recompute.name(),
        training_peak: memory.total(),
        fits: memory.total() as u64 <= budget,
    };
    let mut all: Vec<_> = plans.iter().map(|memory| alternative(batch, memory)).collect();
    let smaller = std::iter::successors(Some(batch), |batch| Some(batch / 2)).skip(1).take_while(|&b| b > 0);
    for batch in smaller.filter(|_| limited) {
        for memory in plans {
            let memory = opened.memory_of_batch(batch, memory.recompute, unlimited)?;
            all.push(alternative(batch, &memory));
        }
    }
    Ok(all)
}

fn captions(opened: &Opened) -> CaptionReport {
    CaptionReport {
        before_training: opened.fixed_texts().len(),
        an_epoch_at_most: epoch_texts::appearances(opened),
        first_epoch: epoch_texts::of_the_first_epoch(opened),
        at_a_time: epoch_texts::most_at_a_time(opened),
    }
}

fn memory_report(
    opened: &Opened,
    memory: &MemoryPlan,
    limits: &Limits,
    limit: Option<u64>,
) -> Result<MemoryReport> {
    Ok(MemoryReport {
        plan: *memory,
        training_peak: memory.total(),
        vae_peak: vae_peak(opened, limits)?,
        text_encoder_peak: text_encoder_peak(opened, limits)?,
        limit,
    })
}

/// Encoding a picture of the largest bucket, before training.
fn vae_peak(opened: &Opened, limits: &Limits) -> Result<usize> {
    let vae = opened.vae()?;
    let total = |footprint: Footprint| footprint.weights + footprint.arena;
    let mut most = 0;
    for Bucket { width, height } in opened.dataset.buckets() {
        most = most.max(total(vae.plan_encode(width, height, limits)?));
    }
    Ok(most)
}

fn text_encoder_peak(opened: &Opened, limits: &Limits) -> Result<usize> {
    let encoders = TextEncoders::open(&opened.model)?;
    encoders.plan(GROUP, opened.settings.tokenizer_max_length, limits)
}
