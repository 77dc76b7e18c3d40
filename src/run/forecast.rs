//! What a run would do, without doing it: pictures, steps, memory and disk.

use crate::autograd::recompute::Recompute;
use crate::dataset::BucketCount;
use crate::device::Limits;
use crate::error::Result;
use crate::models::text::TextEncoders;
use crate::models::vae::Footprint;
use crate::run::pace::Pace;
use crate::run::{Opened, disk};
use crate::train::memory::MemoryPlan;
use serde::Serialize;

/// See the module's documentation. Bytes throughout.
#[derive(Debug, Clone, Serialize)]
pub struct Forecast {
    /// The release that the model's sizes are those of.
    pub model: &'static str,
    /// What each bucket contributes to an epoch.
    pub buckets: Vec<BucketReport>,
    /// Batches of an epoch.
    pub batches_per_epoch: usize,
    /// Optimizer steps of an epoch.
    pub steps_per_epoch: usize,
    /// Optimizer steps of the run.
    pub total_steps: usize,
    /// Linear layers with an adapter.
    pub adapted_layers: usize,
    /// Numbers that are trained.
    pub trainable_parameters: usize,
    /// Memory, or why it does not suffice.
    pub memory: MemoryReport,
    /// Disk.
    pub disk: DiskReport,
    /// What other policies and, where memory is limited, smaller batches would need.
    pub alternatives: Vec<Alternative>,
    /// Steps, evenly spread over the run, and their learning rates.
    pub learning_rate: Vec<(u64, f64)>,
    /// How long training takes, if steps like these were measured.
    pub time: Option<Pace>,
}

/// One bucket.
#[derive(Debug, Clone, Serialize)]
pub struct BucketReport {
    /// Width in pixels.
    pub width: usize,
    /// Height in pixels.
    pub height: usize,
    /// Different pictures.
    pub pictures: usize,
    /// Appearances in an epoch, repeats included.
    pub appearances: usize,
    /// Batches in an epoch.
    pub batches: usize,
    /// Samples of the last batch.
    pub last_batch: usize,
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

/// Captions that are encoded together, as [`crate::encode`] does.
const CAPTIONS_A_BATCH: usize = 16;

/// Learning rates that a forecast tells.
const LEARNING_RATES: u64 = 128;

/// The learning rates of `opened` at up to `count` steps, the first and the last among them.
pub fn learning_rate(opened: &Opened, count: u64) -> Vec<(u64, f64)> {
    let last = (opened.schedule.total_steps() as u64).saturating_sub(1);
    let parts = last.min(count.saturating_sub(1)).max(1);
    let mut steps: Vec<u64> = (0..=parts).map(|part| part * last / parts).collect();
    steps.dedup();
    steps.into_iter().map(|step| (step, opened.recipe.learning_rate.at(step))).collect()
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
    let bucket = |count: BucketCount| BucketReport {
        width: count.bucket.width,
        height: count.bucket.height,
        pictures: count.pictures,
        appearances: count.appearances,
        batches: count.batches,
        last_batch: count.last_batch,
    };
    Ok(Forecast {
        model: opened.config.release(),
        buckets: schedule.bucket_counts().into_iter().map(bucket).collect(),
        batches_per_epoch: schedule.batches_per_epoch(),
        steps_per_epoch: schedule.steps_per_epoch(),
        total_steps: schedule.total_steps(),
        adapted_layers: opened.recipe.adapters.all.len(),
        trainable_parameters: opened.persistent.trainable(),
        memory: memory_report(opened, &chosen, limits, limit)?,
        disk: DiskReport { caches: disk::cache_bytes(opened), checkpoints: disk::checkpoint_bytes(opened) },
        learning_rate: learning_rate(opened, LEARNING_RATES),
        time: None,
        alternatives: alternatives(opened, &plans, &unlimited, budget, limit.is_some())?,
    })
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
    for count in opened.schedule.bucket_counts() {
        most = most.max(total(vae.plan_encode(count.bucket.width, count.bucket.height, limits)?));
    }
    Ok(most)
}

fn text_encoder_peak(opened: &Opened, limits: &Limits) -> Result<usize> {
    let encoders = TextEncoders::open(&opened.model)?;
    encoders.plan(CAPTIONS_A_BATCH, opened.settings.tokenizer_max_length, limits)
}
