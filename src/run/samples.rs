//! What a run writes down about its samples, so that a bad picture can be traced.

use crate::dataset::{Dataset, Sample};
use crate::error::{Error, ErrorKind, Result};
use crate::files;
use crate::report::samples::{ShownSample, StepSamples};
use crate::train::StepReport;
use serde_json::json;
use std::path::Path;

/// Writes what every sample is, a line each: its data set, picture, size, bucket and views.
pub(super) fn write_pictures(path: &Path, dataset: &Dataset) -> Result<()> {
    let mut lines = String::new();
    for (index, sample) in dataset.samples.iter().enumerate() {
        lines.push_str(&line(index, sample, dataset)?);
        lines.push('\n');
    }
    files::replace_bytes(path, lines.as_bytes())
}

fn line(index: usize, sample: &Sample, dataset: &Dataset) -> Result<String> {
    let bucket = sample.bucket;
    let line = json!({
        "sample": index,
        "data_set": dataset.source_of(index).id,
        "picture": sample.path.to_string_lossy(),
        "size": [sample.size.0, sample.size.1],
        "bucket": [bucket.width, bucket.height],
        "views": sample.views,
    });
    serde_json::to_string(&line).map_err(|e| Error::new(ErrorKind::Files, "pictures.jsonl", e.to_string()))
}

/// The samples of a step.
pub(super) fn of_step(report: &StepReport) -> StepSamples {
    let shown = report.shown.iter().map(|shown| ShownSample {
        sample: shown.sample,
        view: shown.view,
        sigma: shown.sigma as f32,
        loss: shown.loss as f32,
    });
    StepSamples { step: report.step, samples: shown.collect() }
}
