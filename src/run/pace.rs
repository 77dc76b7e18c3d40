//! How fast training was, for the plan of the next run: no time is told that nobody has measured.
//!
//! When training begins, the output folder is told the device and what a step's time depends on. A plan takes the
//! times of the steps since then from the metrics, if its own steps are of the same kind.

use crate::device::Device;
use crate::error::{Error, Result};
use crate::files;
use crate::report::metrics::{self, StepMetrics};
use crate::run::Opened;
use crate::train::places::Places;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::path::Path;

/// What a step's time depends on, beside model, resolutions and device.
const SETTINGS: [&str; 14] = [
    "tokenizer_max_length",
    "train_batch_size",
    "gradient_accumulation_steps",
    "recompute",
    "optimizer",
    "use_ema",
    "lora_type",
    "lora_rank",
    "lora_targets",
    "rank_pattern",
    "lora_dropout",
    "lora_blocks",
    "use_dora",
    "lycoris_config",
];
/// Steps below which there is no rate; the first is left out, since it makes what the others reuse.
const FEWEST_STEPS: usize = 5;

/// What is on record.
#[derive(Debug, Serialize, Deserialize)]
struct Record {
    device: String,
    /// Steps that were done before, perhaps elsewhere.
    after_step: u64,
    kind_of_step: Map<String, Value>,
}

/// A measured rate.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Pace {
    /// The device that trained.
    pub device: String,
    /// Steps that were measured.
    pub steps: usize,
    /// The mean time of one.
    pub seconds_per_step: f64,
    /// That times the steps of the run.
    pub seconds: f64,
}

/// What an output folder tells.
#[derive(Debug, Clone, PartialEq)]
pub enum Measured {
    /// Nothing.
    Nothing,
    /// A rate of steps that differ in these settings.
    OfOtherSteps(Vec<String>),
    /// The rate.
    Pace(Pace),
}

/// Puts down what steps after `step` will be like.
pub(super) fn note(opened: &Opened, device: &Device, places: &Places, step: u64) -> Result<()> {
    let record = Record { device: device.name(), after_step: step, kind_of_step: kind_of_step(opened) };
    let json = serde_json::to_vec(&record).map_err(|e| Error::io(&places.pace(), &e.into()))?;
    files::replace_bytes(&places.pace(), &json)
}

/// How fast the steps of `opened` would be by what a run has left in its output folder. A record that cannot be read
/// is none.
pub fn measured(opened: &Opened, output: &Path) -> Measured {
    let places = Places::new(output);
    let record = std::fs::read(places.pace()).ok();
    let record = record.and_then(|bytes| serde_json::from_slice::<Record>(&bytes).ok());
    let (Some(record), Ok(steps)) = (record, metrics::read::<StepMetrics>(&places.metrics())) else {
        return Measured::Nothing;
    };
    let steps: Vec<f64> =
        steps.iter().filter(|step| step.step > record.after_step + 1).map(|step| step.seconds).collect();
    if steps.len() < FEWEST_STEPS {
        return Measured::Nothing;
    }
    let (then, now) = (&record.kind_of_step, kind_of_step(opened));
    let differing: Vec<String> = now.keys().filter(|&key| then.get(key) != now.get(key)).cloned().collect();
    if !differing.is_empty() {
        return Measured::OfOtherSteps(differing);
    }
    let seconds_per_step = steps.iter().sum::<f64>() / steps.len() as f64;
    let seconds = seconds_per_step * opened.schedule.total_steps() as f64;
    Measured::Pace(Pace { device: record.device, steps: steps.len(), seconds_per_step, seconds })
}

fn kind_of_step(opened: &Opened) -> Map<String, Value> {
    let mut resolutions: Vec<u32> = opened.backends.images.iter().map(|set| set.resolution).collect();
    resolutions.sort_unstable();
    resolutions.dedup();
    let config = &opened.config;
    let used = opened.settings.as_used();
    let settings = SETTINGS.iter().filter_map(|&key| Some((key.to_owned(), used.get(key)?.clone())));
    let model = json!([config.depth, config.width, config.dual_attention]);
    settings.chain([("model".to_owned(), model), ("resolution".to_owned(), json!(resolutions))]).collect()
}
