//! What a run says while it goes on, and how it ends.

use crate::encode::Stage;
use crate::error::Error;
use crate::report::metrics::StepMetrics;

/// Hears what a run does, as it does it.
pub trait Observer {
    /// A line worth reading.
    fn note(&mut self, text: &str);
    /// Pictures or captions are being encoded.
    fn encoding(&mut self, stage: Stage, done: usize, total: usize);
    /// Training begins after `done` of `total` steps.
    fn training(&mut self, done: u64, total: u64);
    /// A step was done.
    fn step(&mut self, metrics: &StepMetrics);
    /// A validation picture of `step` was drawn.
    fn drawn(&mut self, step: u64, done: usize, total: usize);
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// All steps are done.
    Finished,
    /// Everything was done already.
    NothingToDo,
    /// Stopped on request after this step, with a checkpoint.
    Stopped(u64),
    /// Stopped by the guard after this step.
    StoppedByGuard(u64),
}

/// A failure, and whether steps had begun.
#[derive(Debug)]
pub struct Failed {
    /// What went wrong.
    pub error: Error,
    /// Whether it went wrong after training had begun.
    pub while_running: bool,
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self { error, while_running: false }
    }
}
