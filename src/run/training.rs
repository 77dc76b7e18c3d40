//! A training run from the opened parts to the final file.

use crate::autograd::persistent::Flat;
use crate::cache::{LatentKey, Shelf, Store};
use crate::dataset::{Bucket, Sample};
use crate::device::Device;
use crate::encode::{self, Encoded, Stage, Work};
use crate::error::{Error, Result};
use crate::export;
use crate::models::adapter::{AdapterModule, load};
use crate::models::mmdit::config::LATENT_PIXEL;
use crate::models::mmdit::positions;
use crate::models::weight_source::ModelWeights;
use crate::report::metrics::{self, MetricsLog, StepMetrics};
use crate::report::plot;
use crate::report::samples::SamplesLog;
use crate::report::tensorboard::EventWriter;
use crate::run::epoch_texts::{self, EpochTexts};
use crate::run::report::Report;
use crate::run::validation::{self, Drawn, Validation};
use crate::run::watch::{Course, Watch};
use crate::run::{Opened, disk, pace, samples};
use crate::settings::{GuardAction, SaveDtype};
use crate::train::checkpoint::{self, Checkpoint, Restored, Snapshot};
use crate::train::data::SampleKeys;
use crate::train::guard::Alarm;
use crate::train::output_folder::{OpenOptions, OutputFolder, Resume};
use crate::train::trainer::TrainerParts;
use crate::train::{StepReport, Trainer, TrainingData};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};

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

/// Does the run; `stop` asks it to write a checkpoint and end after the step at hand.
pub fn train(
    opened: &Opened,
    device: &Device,
    observer: &mut dyn Observer,
    stop: &AtomicBool,
) -> std::result::Result<Outcome, Failed> {
    let limits = device.limits()?;
    let (programs, memory) = opened.programs(opened.policy(), &limits)?;
    let mebibytes = memory.total() as f64 / (1 << 20) as f64;
    observer.note(&format!("memory: {mebibytes:.1} MiB, recompute: {}", memory.recompute.name()));
    opened.check_model()?;
    let output = open_output(opened)?;
    let mut as_used = as_used(opened);
    let restored = restore(opened, &output, observer)?;
    let course = match &restored {
        Some(restored) => Course::of_checkpoint(&restored.settings)?,
        None => Course::default(),
    };
    as_used["course"] = json!(course);
    let done = restored.as_ref().map_or(0, |restored| restored.step);
    if done >= opened.schedule.total_steps() as u64 && checkpoint::is_exported(&output, done)? {
        return Ok(Outcome::NothingToDo);
    }
    let store = opened.store();
    let Some(encoded) = encode(opened, &store, device, observer, stop)? else {
        return Ok(Outcome::Stopped(done));
    };
    let passing = Shelf::new(&epoch_texts::folder(opened));
    let empty = encoded.empty_caption.clone();
    let data = TrainingData::new(&store, &passing, sample_keys(opened, &encoded), empty);
    let texts = EpochTexts::open(opened, data.shelves(), &encoded.empty_caption, memory.arena, device)?;
    let adapters = opened.drawing_adapters();
    let validation = Validation::open(opened, opened.picture_model(&adapters), &store, &encoded)?;
    let parts = TrainerParts {
        recipe: &opened.recipe,
        schedule: &opened.schedule,
        captions: opened.captions(),
        encoder_dropout: opened.encoder_dropout()?,
        data: &data,
        persistent: &opened.persistent,
        text_tokens: opened.text_tokens(),
        arena_bytes: memory.arena,
    };
    let weights = ModelWeights(&opened.model.mmdit);
    let mut trainer = Trainer::new(parts, programs, &weights, positions(opened)?, device)?;
    match &restored {
        Some(restored) => trainer.restore(restored.step, &restored.tensors)?,
        // Whatever can be found wrong beforehand has been looked for: the earlier run may go now.
        None => output.start_over()?,
    }
    let (data_backends, prompts) = (output.data_backends(), output.prompts());
    output.write_settings(&opened.settings.whole(&opened.backends, &data_backends, &prompts))?;
    samples::write_pictures(&output.pictures(), &opened.dataset)?;
    pace::note(opened, device, &output, trainer.step())?;
    trainer.set_rate_factor(course.rate_factor);
    let watch = Watch::open(opened, &output, &trainer, &limits, course)?;
    let report = Report::open(opened, &memory, &output, trainer.step())?;
    let run = Running { opened, output: &output, observer, as_used, texts, validation, watch, report, stop };
    run.go_on(trainer)
}

/// Locks the output folder for this run, once there is room for what it will write.
fn open_output(opened: &Opened) -> Result<OutputFolder> {
    let settings = &opened.settings;
    let options = OpenOptions {
        resume: Resume::from_setting(settings.resume_from_checkpoint.as_deref()),
        overwrite: settings.overwrite,
    };
    OutputFolder::refuse_unwritable(&settings.output_dir)?;
    disk::refuse_full(opened)?;
    OutputFolder::open(&settings.output_dir, &options)
}

/// The checkpoint that the run goes on from; none for a fresh start.
fn restore(opened: &Opened, output: &OutputFolder, observer: &mut dyn Observer) -> Result<Option<Restored>> {
    let resume = Resume::from_setting(opened.settings.resume_from_checkpoint.as_deref());
    let found = checkpoint::find(output, &resume)?;
    found.damaged.iter().for_each(|error| observer.note(&format!("passed over: {error}")));
    let Some(checkpoint) = found.checkpoint else {
        if resume != Resume::No {
            observer.note("there is no checkpoint to resume; starting afresh");
        }
        return Ok(None);
    };
    let restored = checkpoint::load(&checkpoint)?;
    opened.settings.refuse_change_on_resume(&restored.settings["run"])?;
    opened.backends.refuse_change_on_resume(&restored.settings["data"])?;
    observer.note(&format!("going on after step {}", restored.step));
    Ok(Some(restored))
}

/// Encodes what the caches lack; none if asked to stop meanwhile.
fn encode(
    opened: &Opened,
    store: &Store,
    device: &Device,
    observer: &mut dyn Observer,
    stop: &AtomicBool,
) -> Result<Option<Encoded>> {
    let work = Work {
        dataset: &opened.dataset,
        captions: &opened.captions().fixed(),
        prompts: &opened.prompts(),
        t5_length: opened.settings.tokenizer_max_length,
        vae_band_rows: opened.settings.vae_band_rows,
        device,
        stop,
    };
    let encoded = encode::fill(store, &opened.model, &work, &mut |stage, done, total| {
        observer.encoding(stage, done, total);
    })?;
    if let Some(Encoded { new_latents, new_texts, .. }) = &encoded {
        let made = format!("encoded {new_latents} pictures and {new_texts} texts");
        observer.note(&format!("{made}; the rest was in the cache"));
    }
    Ok(encoded)
}

/// The settings as used, of the run and of its data.
fn as_used(opened: &Opened) -> Value {
    json!({ "run": opened.settings.as_used(), "data": opened.backends.as_used() })
}

/// The settings that change the weights, for the header of the LoRA.
pub fn header_settings(opened: &Opened) -> Value {
    json!({ "run": opened.settings.changes_weights(), "data": opened.backends.changes_weights() })
}

fn sample_keys(opened: &Opened, encoded: &Encoded) -> Vec<SampleKeys> {
    let samples = opened.dataset.samples.iter().zip(&encoded.latents);
    let keys = |(sample, latents): (&Sample, &Vec<LatentKey>)| SampleKeys {
        picture: sample.path.clone(),
        lesson: opened.dataset.sources[sample.source].lesson,
        latents: latents.clone(),
    };
    samples.map(keys).collect()
}

/// Positions of the patches of every bucket.
fn positions(opened: &Opened) -> Result<HashMap<(usize, usize), Vec<f32>>> {
    let mut all = HashMap::new();
    for Bucket { width, height } in opened.dataset.buckets() {
        let (latent_height, latent_width) = (height / LATENT_PIXEL, width / LATENT_PIXEL);
        let table = positions::read(&opened.model.mmdit, &opened.config, latent_height, latent_width)?;
        all.insert((width, height), table);
    }
    Ok(all)
}

/// A run whose trainer stands ready.
struct Running<'r, 'a> {
    opened: &'a Opened,
    output: &'r OutputFolder,
    observer: &'r mut dyn Observer,
    as_used: Value,
    texts: Option<EpochTexts<'r>>,
    validation: Option<Validation<'a>>,
    watch: Watch,
    report: Report,
    stop: &'r AtomicBool,
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
    fn go_on(mut self, mut trainer: Trainer<'_>) -> std::result::Result<Outcome, Failed> {
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
