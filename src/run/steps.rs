//! The steps of a run whose trainer stands ready: what is recorded of each, what is due after it, what stands at the end.

use crate::autograd::persistent::Flat;
use crate::error::{Error, Result};
use crate::export;
use crate::models::adapter::{AdapterModule, load};
use crate::report::metrics::{self, MetricsLog, StepMetrics};
use crate::report::plot;
use crate::report::samples::SamplesLog;
use crate::report::tensorboard::EventWriter;
use crate::run::Opened;
use crate::run::epoch_texts::EpochTexts;
use crate::run::progress::{Failed, Observer, Outcome};
use crate::run::report::Report;
use crate::run::samples;
use crate::run::validation::{self, Drawn, Validation};
use crate::run::watch::{Course, Watch};
use crate::settings::{GuardAction, SaveDtype};
use crate::train::checkpoint::{self, Checkpoint, Snapshot};
use crate::train::guard::Alarm;
use crate::train::output_folder::OutputFolder;
use crate::train::{StepReport, Trainer};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicBool, Ordering};

/// A run whose trainer stands ready.
pub(super) struct Running<'r, 'a> {
    pub(super) opened: &'a Opened,
    pub(super) output: &'r OutputFolder,
    pub(super) observer: &'r mut dyn Observer,
    pub(super) as_used: Value,
    pub(super) texts: Option<EpochTexts<'r>>,
    pub(super) validation: Option<Validation<'a>>,
    pub(super) watch: Watch,
    pub(super) report: Report,
    pub(super) stop: &'r AtomicBool,
}

/// The records that grow with the steps.
struct Records {
    log: MetricsLog<StepMetrics>,
    samples: SamplesLog,
    events: EventWriter,
}

impl Records {
    /// The records of a run that goes on after `step`; what they say of later steps is gone.
    fn open(output: &OutputFolder, step: u64) -> Result<Self> {
        let log = MetricsLog::open(&output.metrics(), step)?;
        let samples = SamplesLog::open(&output.samples(), step)?;
        Ok(Self { log, samples, events: EventWriter::create(&output.tensorboard(), step)? })
    }
}

impl Running<'_, '_> {
    /// Does the steps that are left and ends the run.
    pub(super) fn go_on(mut self, mut trainer: Trainer<'_>) -> std::result::Result<Outcome, Failed> {
        let mut records = Records::open(self.output, trainer.step())?;
        let alarm = self.watch.replay(self.output, trainer.step())?;
        let outcome = self.steps(&mut trainer, &mut records, alarm).and_then(|outcome| {
            self.report.write(match outcome {
                Outcome::Finished | Outcome::NothingToDo => "finished",
                Outcome::Stopped(_) => "stopped",
                Outcome::StoppedByGuard(_) => "stopped by the guard",
            })?;
            Ok(outcome)
        });
        outcome.map_err(|error| Failed { error: self.failed(trainer.step(), error), while_running: true })
    }

    /// The steps that are left, and what stands at the end; `alarm` is what the guard said of the last step that was
    /// done before, if the run was cut short before it could heed it.
    fn steps(
        &mut self,
        trainer: &mut Trainer<'_>,
        records: &mut Records,
        alarm: Option<Alarm>,
    ) -> Result<Outcome> {
        let settings = &self.opened.settings;
        let total = self.opened.schedule.total_steps() as u64;
        if trainer.step() == 0 {
            self.evaluate(trainer, records)?;
            if !settings.disable_benchmark {
                self.validate(trainer, records)?;
            }
        }
        if let Some(alarm) = alarm.filter(|_| settings.guard == GuardAction::RollBack) {
            self.heed(&alarm, trainer, records)?;
        }
        self.observer.training(trainer.step(), total);
        let mut stopping = self.is_stopping();
        while trainer.step() < total {
            // The steps done so far have their checkpoint.
            if stopping {
                return Ok(Outcome::Stopped(trainer.step()));
            }
            if !self.texts_are_ready(trainer)? {
                return self.stopped_between_steps(trainer);
            }
            let alarm = match trainer.advance() {
                Ok(report) => {
                    stopping = self.is_stopping();
                    self.after_step(&report, stopping, trainer, records)?
                }
                Err(error) if settings.guard != GuardAction::RollBack => return Err(error),
                Err(error) => {
                    let alarm = Alarm::NotFinite { since: trainer.step() + 1 };
                    if self.way_back(&alarm)?.is_none() {
                        return Err(error);
                    }
                    Some(alarm)
                }
            };
            if let Some(alarm) = alarm
                && self.heed(&alarm, trainer, records)? == Heeded::Stop
            {
                return Ok(Outcome::StoppedByGuard(trainer.step()));
            }
        }
        self.finish(trainer, records)?;
        Ok(Outcome::Finished)
    }

    /// Encodes the captions of the coming steps where they read differently each time; false if asked to stop.
    fn texts_are_ready(&mut self, trainer: &mut Trainer<'_>) -> Result<bool> {
        let step = trainer.step();
        match &mut self.texts {
            Some(texts) => texts.make_ready(trainer.engine(), step, self.observer, self.stop),
            None => Ok(true),
        }
    }

    /// Writes a checkpoint of the steps that are done, if any is.
    fn stopped_between_steps(&mut self, trainer: &mut Trainer<'_>) -> Result<Outcome> {
        if trainer.step() > 0 {
            self.checkpoint(trainer)?;
        }
        Ok(Outcome::Stopped(trainer.step()))
    }

    /// Records a step, and does what is due after it.
    fn after_step(
        &mut self,
        report: &StepReport,
        stopping: bool,
        trainer: &mut Trainer<'_>,
        records: &mut Records,
    ) -> Result<Option<Alarm>> {
        let settings = &self.opened.settings;
        let metrics = metrics_of(report);
        let shown = samples::of_step(report);
        records.samples.append(&shown)?;
        records.log.append(&metrics)?;
        records.events.scalars(report.step, &scalars(&metrics))?;
        self.observer.step(&metrics);
        self.report.step(&shown)?;
        let mut alarm = self.watch.step(&metrics);
        let last = report.step == self.opened.schedule.total_steps() as u64;
        if last || due(report.step, settings.eval_steps) {
            alarm = self.evaluate(trainer, records)?.or(alarm);
        }
        if last || stopping || due(report.step, settings.checkpointing_steps) {
            self.checkpoint(trainer)?;
        }
        if !last && !stopping && due(report.step, settings.validation_steps) {
            self.validate(trainer, records)?;
        }
        Ok(alarm)
    }

    fn evaluate(&mut self, trainer: &mut Trainer<'_>, records: &mut Records) -> Result<Option<Alarm>> {
        let Some((metrics, alarm)) = self.watch.evaluate(trainer)? else { return Ok(None) };
        records.events.scalars(metrics.step, &[("eval/loss", metrics.loss)])?;
        let lowest = match self.watch.best() {
            Some((step, loss)) if step != metrics.step => {
                format!(", the lowest was {loss:.4} after step {step}")
            }
            _ => String::new(),
        };
        self.observer.note(&format!("held-out loss {:.4} after step {}{lowest}", metrics.loss, metrics.step));
        Ok(alarm)
    }

    /// Does what the settings say about `alarm`.
    fn heed(&mut self, alarm: &Alarm, trainer: &mut Trainer<'_>, records: &mut Records) -> Result<Heeded> {
        let settings = &self.opened.settings;
        let back = self.way_back(alarm)?;
        let good = match &back {
            Some(checkpoint) => format!("the last good checkpoint is {}", checkpoint.folder.display()),
            None => "there is no good checkpoint to go back to".to_owned(),
        };
        self.note(trainer.step(), &format!("{}; {good}", alarm.text()))?;
        match (settings.guard, back) {
            (GuardAction::Off | GuardAction::Warn, _) => Ok(Heeded::GoOn),
            (GuardAction::RollBack, Some(checkpoint))
                if self.watch.course.rollbacks < settings.guard_rollbacks =>
            {
                self.go_back(&checkpoint, trainer, records)?;
                Ok(Heeded::GoOn)
            }
            (GuardAction::Stop | GuardAction::RollBack, _) => Ok(Heeded::Stop),
        }
    }

    /// The checkpoint to go back to: the latest that can be resumed and was in order.
    fn way_back(&self, alarm: &Alarm) -> Result<Option<Checkpoint>> {
        let kept = checkpoint::list(self.output)?.into_iter().rev();
        Ok(kept.filter(|kept| kept.has_state).find(|kept| kept.step <= alarm.good_until()))
    }

    /// Goes on from `checkpoint` with a lower learning rate; later steps were never done.
    fn go_back(
        &mut self,
        checkpoint: &Checkpoint,
        trainer: &mut Trainer<'_>,
        records: &mut Records,
    ) -> Result<()> {
        let restored = checkpoint::load(checkpoint)?;
        let course = Course {
            rollbacks: self.watch.course.rollbacks + 1,
            rate_factor: self.watch.course.rate_factor * self.opened.settings.guard_lr_factor,
        };
        trainer.restore(restored.step, &restored.tensors)?;
        trainer.set_rate_factor(course.rate_factor);
        self.watch.course = course;
        self.as_used["course"] = json!(course);
        *records = Records::open(self.output, restored.step)?;
        self.watch.replay(self.output, restored.step)?;
        self.report.go_back()?;
        let told = format!(
            "going back to step {} and on with {} times the learning rate",
            restored.step, course.rate_factor
        );
        self.note(restored.step, &told)?;
        // From here on a run that is killed goes on along the new course.
        self.checkpoint(trainer)
    }

    fn is_stopping(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Says something that the report keeps.
    fn note(&mut self, step: u64, text: &str) -> Result<()> {
        self.observer.note(text);
        self.report.note(step, text)
    }

    /// Leaves `error` in the report, and names the last good checkpoint in its hint.
    fn failed(&mut self, step: u64, error: Error) -> Error {
        // The error at hand matters more than what the report may have to say.
        let _ = self
            .report
            .note(step, &error.to_string())
            .and_then(|()| self.report.write("stopped by an error"));
        self.with_last_checkpoint(error)
    }

    fn with_last_checkpoint(&self, mut error: Error) -> Error {
        let kept = checkpoint::list(self.output).unwrap_or_default();
        let last = match kept.iter().rev().find(|kept| kept.has_state) {
            Some(kept) => format!("the last good checkpoint is {}", kept.folder.display()),
            None => "there is no checkpoint yet".to_owned(),
        };
        error.hint = if error.hint.is_empty() { last } else { format!("{}; {last}", error.hint) };
        error
    }

    fn checkpoint(&mut self, trainer: &mut Trainer<'_>) -> Result<()> {
        let settings = &self.opened.settings;
        let modules = self.modules(trainer)?;
        let state = trainer.state()?;
        let tensors: Vec<_> = state.iter().map(|(name, values)| (*name, &values[..])).collect();
        let snapshot = Snapshot {
            step: trainer.step(),
            modules: &modules,
            dtype: dtype(settings.save_dtype),
            header_settings: &header_settings(self.opened),
            tensors: &tensors,
            settings: &self.as_used,
        };
        checkpoint::save(self.output, &snapshot)?;
        let limits = (settings.checkpoints_total_limit, settings.checkpoints_state_limit);
        let best = self.watch.best().map(|(step, _)| step);
        checkpoint::prune(self.output, trainer.step(), limits, best)
    }

    /// The adapters as they are exported.
    fn modules(&self, trainer: &mut Trainer<'_>) -> Result<Vec<AdapterModule>> {
        let averaged = self.opened.recipe.average.is_some();
        let source = if averaged { Flat::Average } else { Flat::Parameters };
        load::collect(trainer.engine(), &self.opened.recipe.adapters, source)
    }

    fn validate(&mut self, trainer: &mut Trainer<'_>, records: &mut Records) -> Result<Vec<Drawn>> {
        let step = trainer.step();
        let Some(validation) = &mut self.validation else { return Ok(Vec::new()) };
        let observer = &mut *self.observer;
        let mut drawn = |done, total| observer.drawn(step, done, total);
        let pictures = validation.draw(trainer.engine(), self.output, step, &mut drawn)?;
        for drawn in &pictures {
            let tag = format!("validation/{}_{}x{}", drawn.name, drawn.size.width, drawn.size.height);
            records.events.image(step, &tag, &drawn.picture)?;
        }
        self.report.write("running")?;
        Ok(pictures)
    }

    /// Draws and writes what stands at the end of a run. The LoRA comes last: where it is, the run is finished.
    fn finish(&mut self, trainer: &mut Trainer<'_>, records: &mut Records) -> Result<()> {
        self.validate(trainer, records)?;
        let steps = metrics::read(&self.output.metrics())?;
        plot::write(&self.output.plot(), &steps, &self.watch.evaluations(self.output)?)?;
        validation::before_after(self.opened, self.output, trainer.step())?;
        let step = trainer.step();
        if let Some(validation) = &mut self.validation {
            validation.draw_strengths(trainer.engine(), self.output, step)?;
        }
        self.texts.iter().try_for_each(EpochTexts::forget)?;
        checkpoint::export(self.output, trainer.step())?;
        let (modules, dtype) = (self.modules(trainer)?, dtype(self.opened.settings.save_dtype));
        self.observer.note(&export::proven(&self.output.lora(), &modules, dtype)?);
        let engine = trainer.engine();
        let (weights, persistent) = (engine.weight_bytes(), engine.persistent_bytes());
        let arena = engine.arena_bytes();
        self.observer.note(&format!(
            "memory held: {} bytes (weights {weights}, adapters and their states {persistent}, arena {arena})",
            weights + persistent + arena
        ));
        Ok(())
    }
}

/// Whether a run goes on after an alarm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Heeded {
    GoOn,
    Stop,
}

/// Whether something that happens every `interval` steps happens after `step`.
fn due(step: u64, interval: u64) -> bool {
    interval > 0 && step.is_multiple_of(interval)
}

fn dtype(setting: SaveDtype) -> export::SaveDtype {
    match setting {
        SaveDtype::Bf16 => export::SaveDtype::Bf16,
        SaveDtype::Fp32 => export::SaveDtype::F32,
    }
}

/// The settings that change the weights, for the header of the LoRA.
fn header_settings(opened: &Opened) -> Value {
    json!({ "run": opened.settings.changes_weights(), "data": opened.backends.changes_weights() })
}

fn metrics_of(report: &StepReport) -> StepMetrics {
    StepMetrics {
        step: report.step,
        epoch: report.epoch,
        loss: report.loss,
        lr: report.learning_rate,
        grad_norm: report.gradient_norm,
        seconds: report.seconds,
        samples: report.shown.len() as u64,
    }
}

fn scalars(metrics: &StepMetrics) -> [(&'static str, f64); 4] {
    [
        ("train/loss", metrics.loss),
        ("train/learning_rate", metrics.lr),
        ("train/gradient_norm", metrics.grad_norm),
        ("train/seconds_per_step", metrics.seconds),
    ]
}
