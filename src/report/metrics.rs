//! `metrics.jsonl`: one JSON object a step, in the order of the steps.

use super::step_log::{self, StepLine, StepLog};
use crate::error::Result;
use serde::{Deserialize, Deserializer, Serialize};
use std::path::Path;

/// What is known about one optimizer step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepMetrics {
    /// Optimizer step, from 1.
    pub step: u64,
    /// Epoch that the step's last sample belongs to, from 0.
    pub epoch: u64,
    /// Mean loss over the step's samples.
    #[serde(deserialize_with = "number_or_nan")]
    pub loss: f64,
    /// Learning rate of the step.
    pub lr: f64,
    /// Norm of all adapter gradients before clipping.
    #[serde(deserialize_with = "number_or_nan")]
    pub grad_norm: f64,
    /// Wall time of the step.
    pub seconds: f64,
    /// Samples in the step, over all accumulated batches.
    pub samples: u64,
}

/// JSON has no NaN; a number that was not finite is written as null.
fn number_or_nan<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<f64, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or(f64::NAN))
}

impl StepLine for StepMetrics {
    const NAME: &'static str = "metrics";

    fn step(&self) -> u64 {
        self.step
    }
}

/// The open file.
pub type MetricsLog = StepLog<StepMetrics>;

/// All steps of `path`; a last line without its end, which a crash leaves, is not counted.
///
/// # Errors
/// No such file; a line that is not metrics, with its number.
pub fn read(path: &Path) -> Result<Vec<StepMetrics>> {
    step_log::read(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metrics(step: u64) -> StepMetrics {
        let loss = 0.1 + 1.0 / step as f64;
        StepMetrics { step, epoch: step / 6, loss, lr: 1e-4, grad_norm: 0.3, seconds: 0.05, samples: 4 }
    }

    fn steps(path: &Path) -> Vec<u64> {
        read(path).unwrap().iter().map(|metrics| metrics.step).collect()
    }

    #[test]
    fn what_is_appended_is_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.jsonl");
        let mut log = MetricsLog::open(&path, 0).unwrap();
        (1..=7).for_each(|step| log.append(&metrics(step)).unwrap());
        let read = read(&path).unwrap();
        assert!(read.iter().all(|read| (read.loss - metrics(read.step).loss).abs() < 1e-15));
        assert_eq!(read.iter().map(|read| read.epoch).collect::<Vec<_>>(), [0, 0, 0, 0, 0, 1, 1]);
        let text = std::fs::read_to_string(&path).unwrap();
        let first = text.lines().next().unwrap();
        assert!(first.starts_with(r#"{"step":1,"epoch":0,"loss":1.1,"lr":0.0001,"#), "{first}");
        MetricsLog::open(&path, 7).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
    }

    #[test]
    fn a_resumed_run_forgets_the_steps_it_will_do_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.jsonl");
        let mut log = MetricsLog::open(&path, 0).unwrap();
        (1..=7).for_each(|step| log.append(&metrics(step)).unwrap());
        let mut log = MetricsLog::open(&path, 5).unwrap();
        log.append(&metrics(6)).unwrap();
        assert_eq!(steps(&path), [1, 2, 3, 4, 5, 6]);
        MetricsLog::open(&path, 0).unwrap();
        assert!(steps(&path).is_empty());
    }

    #[test]
    fn a_line_that_a_crash_cut_short_is_dropped_and_a_broken_one_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.jsonl");
        let whole = |step| serde_json::to_string(&metrics(step)).unwrap() + "\n";
        std::fs::write(&path, whole(1) + &whole(2)[..20]).unwrap();
        assert_eq!(steps(&path), [1]);
        MetricsLog::open(&path, 9).unwrap().append(&metrics(2)).unwrap();
        assert_eq!(steps(&path), [1, 2]);
        std::fs::write(&path, whole(1) + "not json\n" + &whole(2)).unwrap();
        assert!(read(&path).unwrap_err().place.ends_with("line 2"));
        assert!(MetricsLog::open(&path, 9).is_err());
    }

    #[test]
    fn a_loss_that_is_no_number_survives_as_such() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.jsonl");
        let broken = StepMetrics { loss: f64::NAN, ..metrics(1) };
        MetricsLog::open(&path, 0).unwrap().append(&broken).unwrap();
        assert!(read(&path).unwrap()[0].loss.is_nan());
    }
}
