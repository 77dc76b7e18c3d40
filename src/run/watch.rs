//! What watches over a run: the loss on held-out pictures, and the guard.

use crate::device::Limits;
use crate::error::{Error, Result};
use crate::files;
use crate::report::metrics::{self, EvaluationMetrics, MetricsLog, StepMetrics};
use crate::run::Opened;
use crate::settings::{GuardAction, RunSettings};
use crate::train::Trainer;
use crate::train::evaluation::Evaluation;
use crate::train::guard::{Alarm, Guard, GuardLimits};
use crate::train::output_folder::OutputFolder;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::time::Instant;

/// What going back has changed about a run; a checkpoint keeps it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Course {
    /// How often the run went back.
    pub rollbacks: u64,
    /// What the learning rate is multiplied by.
    pub rate_factor: f64,
}

impl Default for Course {
    /// A run that never went back.
    fn default() -> Self {
        Self { rollbacks: 0, rate_factor: 1.0 }
    }
}

impl Course {
    /// The course that a checkpoint has in its settings; earlier versions wrote none.
    pub fn of_checkpoint(settings: &Value) -> Result<Self> {
        match settings.get("course") {
            None => Ok(Self::default()),
            Some(course) => serde_json::from_value(course.clone()).map_err(|e| {
                Error::setting("resume_from_checkpoint", format!("its course is damaged ({e})"))
            }),
        }
    }
}

/// The held-out pictures, and the record of the losses on them.
#[derive(Debug)]
struct HeldOut {
    evaluation: Evaluation,
    log: MetricsLog<EvaluationMetrics>,
}

/// See the module's documentation.
#[derive(Debug)]
pub struct Watch {
    held_out: Option<HeldOut>,
    guard: Option<Guard>,
    limits: GuardLimits,
    /// What going back has changed so far.
    pub course: Course,
}

impl Watch {
    /// Whatever the settings want to have watched; `trainer` stands where the run goes on.
    pub fn open(
        opened: &Opened,
        output: &OutputFolder,
        trainer: &Trainer<'_>,
        limits: &Limits,
        course: Course,
    ) -> Result<Self> {
        let settings = &opened.settings;
        let held_out = if opened.held_out.is_empty() {
            None
        } else {
            write_held_out(opened, output)?;
            let (batches, programs) = opened.evaluation_programs(limits)?;
            let (levels, seed) = (settings.eval_noise_levels, settings.seed);
            let evaluation = Evaluation::new(batches, programs, trainer.programs(), levels, seed);
            Some(HeldOut { evaluation, log: MetricsLog::open(&output.evaluations(), trainer.step())? })
        };
        let limits = guard_limits(settings);
        let guard = (settings.guard != GuardAction::Off).then(|| Guard::new(limits));
        Ok(Self { held_out, guard, limits, course })
    }

    /// Lets the guard see what is on record up to `step`, and gives what it says of that step itself. The record of
    /// evaluations ends there; that of steps must do so too.
    pub fn replay(&mut self, output: &OutputFolder, step: u64) -> Result<Option<Alarm>> {
        let mut evaluations = Vec::new();
        if let Some(held_out) = &mut self.held_out {
            held_out.log = MetricsLog::open(&output.evaluations(), step)?;
            evaluations = metrics::read(&output.evaluations())?;
        }
        let Some(guard) = &mut self.guard else { return Ok(None) };
        *guard = Guard::new(self.limits);
        let mut evaluations = evaluations.into_iter().peekable();
        let mut latest = None;
        while let Some(first) = evaluations.next_if(|evaluation: &EvaluationMetrics| evaluation.step == 0) {
            guard.evaluation(0, first.loss);
        }
        for metrics in metrics::read::<StepMetrics>(&output.metrics())? {
            latest = guard.step(metrics.step, metrics.loss, metrics.grad_norm);
            while let Some(evaluation) = evaluations.next_if(|evaluation| evaluation.step == metrics.step) {
                latest = guard.evaluation(metrics.step, evaluation.loss).or(latest);
            }
        }
        Ok(latest)
    }

    /// Sees a step that was done.
    pub fn step(&mut self, metrics: &StepMetrics) -> Option<Alarm> {
        self.guard.as_mut()?.step(metrics.step, metrics.loss, metrics.grad_norm)
    }

    /// Evaluates the held-out pictures, if there are any, and sees the result.
    pub fn evaluate(
        &mut self,
        trainer: &mut Trainer<'_>,
    ) -> Result<Option<(EvaluationMetrics, Option<Alarm>)>> {
        let Some(held_out) = &mut self.held_out else { return Ok(None) };
        let start = Instant::now();
        let report = trainer.evaluate(&mut held_out.evaluation)?;
        let by_sigma = report.by_sigma.into_iter();
        let metrics = EvaluationMetrics {
            step: trainer.step(),
            loss: report.loss,
            by_sigma: by_sigma.map(|(sigma, loss)| (sigma, loss.is_finite().then_some(loss))).collect(),
            seconds: start.elapsed().as_secs_f64(),
        };
        held_out.log.append(&metrics)?;
        let alarm = self.guard.as_mut().and_then(|guard| guard.evaluation(metrics.step, metrics.loss));
        Ok(Some((metrics, alarm)))
    }

    /// Every evaluation so far.
    pub fn evaluations(&self, output: &OutputFolder) -> Result<Vec<EvaluationMetrics>> {
        if self.held_out.is_some() { metrics::read(&output.evaluations()) } else { Ok(Vec::new()) }
    }

    /// Step and value of the lowest held-out loss.
    pub fn best(&self) -> Option<(u64, f64)> {
        self.guard.as_ref()?.best()
    }
}

fn guard_limits(settings: &RunSettings) -> GuardLimits {
    GuardLimits {
        rise: settings.guard_rise,
        patience: settings.guard_patience,
        gradient_factor: settings.guard_gradient_factor,
    }
}

/// Names the pictures that are never trained on.
fn write_held_out(opened: &Opened, output: &OutputFolder) -> Result<()> {
    let line = |&index: &usize| format!("{}\n", opened.dataset.samples[index].path.display());
    let names: String = opened.held_out.iter().map(line).collect();
    files::replace_bytes(&output.held_out(), names.as_bytes())
}
