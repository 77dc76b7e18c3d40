//! The records of a run, `metrics.jsonl` and its like: one JSON object a line, in the order of the steps.

use crate::error::{Error, ErrorKind, Result};
use crate::files;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};

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

/// What is known about held-out pictures after a step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EvaluationMetrics {
    /// Finished optimizer steps.
    pub step: u64,
    /// Mean loss over held-out samples and noise levels.
    #[serde(deserialize_with = "number_or_nan")]
    pub loss: f64,
    /// Noise level and mean loss at it, from the least noise to the most.
    pub by_sigma: Vec<(f64, Option<f64>)>,
    /// Wall time of the evaluation.
    pub seconds: f64,
}

/// Something that the run said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// Finished optimizer steps.
    pub step: u64,
    /// What it said.
    pub text: String,
}

/// A line of a log.
pub trait Line: Serialize + DeserializeOwned {
    /// The optimizer step after which it was written.
    fn step(&self) -> u64;
}

impl Line for StepMetrics {
    fn step(&self) -> u64 {
        self.step
    }
}

impl Line for EvaluationMetrics {
    fn step(&self) -> u64 {
        self.step
    }
}

impl Line for Note {
    fn step(&self) -> u64 {
        self.step
    }
}

/// The open file; each line is on disk's side of the program when `append` returns.
#[derive(Debug)]
pub struct MetricsLog<L> {
    path: PathBuf,
    file: File,
    lines: PhantomData<L>,
}

impl<L: Line> MetricsLog<L> {
    /// Opens `path` for a run whose last finished step is `resumed_step` (0 for a fresh run); later steps, which the
    /// run will do again, and a line that a crash cut short are removed.
    ///
    /// # Errors
    /// A file that cannot be written, or whose lines are not metrics.
    pub fn open(path: &Path, resumed_step: u64) -> Result<Self> {
        let bytes =
            if path.exists() { std::fs::read(path).map_err(|e| Error::io(path, &e))? } else { vec![] };
        let mut kept = Vec::new();
        for (line, metrics) in parse::<L>(path, &bytes)? {
            if metrics.step() <= resumed_step {
                kept.extend_from_slice(line);
                kept.push(b'\n');
            }
        }
        files::replace_bytes(path, &kept)?;
        let file = OpenOptions::new().append(true).open(path).map_err(|e| Error::io(path, &e))?;
        Ok(Self { path: path.to_owned(), file, lines: PhantomData })
    }

    /// Adds a line.
    pub fn append(&mut self, metrics: &L) -> Result<()> {
        let json = serde_json::to_string(metrics).map_err(|e| Error::io(&self.path, &e.into()))?;
        self.file.write_all((json + "\n").as_bytes()).map_err(|e| Error::io(&self.path, &e))
    }
}

/// All lines of `path`; a last line without its end, which a crash leaves, is not counted.
///
/// # Errors
/// No such file; a line that is not metrics, with its number.
pub fn read<L: Line>(path: &Path) -> Result<Vec<L>> {
    let bytes = std::fs::read(path).map_err(|e| Error::io(path, &e))?;
    Ok(parse(path, &bytes)?.into_iter().map(|(_, metrics)| metrics).collect())
}

/// The whole lines of the file with what they say.
fn parse<'a, L: Line>(path: &Path, bytes: &'a [u8]) -> Result<Vec<(&'a [u8], L)>> {
    let whole = bytes.iter().rposition(|&byte| byte == b'\n').unwrap_or(0);
    let lines = bytes[..whole].split(|&byte| byte == b'\n').enumerate().filter(|(_, line)| !line.is_empty());
    let understood = |(index, line): (usize, &'a [u8])| match serde_json::from_slice(line) {
        Ok(metrics) => Ok((line, metrics)),
        Err(e) => {
            let place = format!("{}, line {}", path.display(), index + 1);
            Err(Error::new(ErrorKind::Files, place, format!("not a line of metrics ({e})"))
                .hint("move the file away; a new one will be started"))
        }
    };
    lines.map(understood).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metrics(step: u64) -> StepMetrics {
        let loss = 0.1 + 1.0 / step as f64;
        StepMetrics { step, epoch: step / 6, loss, lr: 1e-4, grad_norm: 0.3, seconds: 0.05, samples: 4 }
    }

    fn steps(path: &Path) -> Vec<u64> {
        read(path).unwrap().iter().map(|metrics: &StepMetrics| metrics.step).collect()
    }

    #[test]
    fn what_is_appended_is_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.jsonl");
        let mut log = MetricsLog::open(&path, 0).unwrap();
        (1..=7).for_each(|step| log.append(&metrics(step)).unwrap());
        let read: Vec<StepMetrics> = read(&path).unwrap();
        assert!(read.iter().all(|read| (read.loss - metrics(read.step).loss).abs() < 1e-15));
        assert_eq!(read.iter().map(|read| read.epoch).collect::<Vec<_>>(), [0, 0, 0, 0, 0, 1, 1]);
        let text = std::fs::read_to_string(&path).unwrap();
        let first = text.lines().next().unwrap();
        assert!(first.starts_with(r#"{"step":1,"epoch":0,"loss":1.1,"lr":0.0001,"#), "{first}");
        MetricsLog::<StepMetrics>::open(&path, 7).unwrap();
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
        MetricsLog::<StepMetrics>::open(&path, 0).unwrap();
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
        assert!(read::<StepMetrics>(&path).unwrap_err().place.ends_with("line 2"));
        assert!(MetricsLog::<StepMetrics>::open(&path, 9).is_err());
    }

    #[test]
    fn a_loss_that_is_no_number_survives_as_such() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.jsonl");
        let broken = StepMetrics { loss: f64::NAN, ..metrics(1) };
        MetricsLog::open(&path, 0).unwrap().append(&broken).unwrap();
        assert!(read::<StepMetrics>(&path).unwrap()[0].loss.is_nan());
    }
}
