//! `samples.jsonl`: which samples a step saw, in which view, and what became of them. `pictures.jsonl` says what
//! they are: one line a sample, in the order of their numbers.

use super::metrics::{Line, MetricsLog};
use serde::{Deserialize, Serialize};

/// The samples of one optimizer step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepSamples {
    /// Optimizer step, from 1.
    pub step: u64,
    /// Its samples, in order, over all accumulated batches.
    pub samples: Vec<ShownSample>,
}

/// One appearance of a picture.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ShownSample {
    /// The sample's number: its line in `pictures.jsonl`, from 0.
    pub sample: usize,
    /// Which of its views was shown, from 0.
    pub view: usize,
    /// Its noise level.
    pub sigma: f32,
    /// Its loss, weighted.
    pub loss: f32,
}

impl Line for StepSamples {
    fn step(&self) -> u64 {
        self.step
    }
}

/// The open file.
pub type SamplesLog = MetricsLog<StepSamples>;
