//! A training run from the opened parts to the final file.

use crate::autograd::persistent::Flat;
use crate::cache::{LatentKey, Store, TextKey};
use crate::dataset::Sample;
use crate::device::Device;
use crate::encode::{self, Encoded, Stage, Work};
use crate::error::{Error, Result};
use crate::export;
use crate::models::adapter::{LoraModule, load};
use crate::models::mmdit::config::LATENT_PIXEL;
use crate::models::mmdit::positions;
use crate::models::weight_source::ModelWeights;
use crate::report::metrics::{self, MetricsLog, StepMetrics};
use crate::report::plot;
use crate::report::tensorboard::EventWriter;
use crate::run::validation::{self, Drawn, Validation};
use crate::run::{Opened, disk};
use crate::settings::SaveDtype;
use crate::train::checkpoint::{self, Restored, Snapshot};
use crate::train::data::SampleKeys;
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
    let (programs, memory) = opened.programs(opened.policy(), &device.limits()?)?;
    let mebibytes = memory.total() as f64 / (1 << 20) as f64;
    observer.note(&format!("memory: {mebibytes:.1} MiB, recompute: {}", memory.recompute.name()));
    opened.check_model()?;
    let output = open_output(opened)?;
    let as_used = as_used(opened);
    let restored = restore(opened, &output, observer)?;
    let done = restored.as_ref().map_or(0, |restored| restored.step);
    if done >= opened.schedule.total_steps() as u64 && checkpoint::is_exported(&output, done)? {
        return Ok(Outcome::NothingToDo);
    }
    let store = opened.store();
    let Some(encoded) = encode(opened, &store, device, observer, stop)? else {
        return Ok(Outcome::Stopped(done));
    };
    let data = TrainingData::new(&store, sample_keys(opened, &encoded), encoded.empty_caption.clone());
    let adapters = opened.drawing_adapters();
    let validation = Validation::open(opened, opened.picture_model(&adapters), &store, &encoded)?;
    let parts = TrainerParts {
        recipe: &opened.recipe,
        schedule: &opened.schedule,
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
    let run = Running { opened, output: &output, observer, as_used, validation, stop };
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
    let keys = encoded.latents.iter().zip(&encoded.captions);
    let samples = opened.dataset.samples.iter().zip(keys);
    let keys = |(sample, (latents, captions)): (&Sample, (&LatentKey, &Vec<TextKey>))| SampleKeys {
        picture: sample.path.clone(),
        latents: latents.clone(),
        captions: captions.clone(),
    };
    samples.map(keys).collect()
}

/// Positions of the patches of every bucket.
fn positions(opened: &Opened) -> Result<HashMap<(usize, usize), Vec<f32>>> {
    let mut all = HashMap::new();
    for count in opened.schedule.bucket_counts() {
        let (width, height) = (count.bucket.width, count.bucket.height);
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
    validation: Option<Validation<'a>>,
    stop: &'r AtomicBool,
}

impl Running<'_, '_> {
    fn go_on(mut self, mut trainer: Trainer<'_>) -> std::result::Result<Outcome, Failed> {
        let mut log = MetricsLog::open(&self.output.metrics(), trainer.step())?;
        let mut events = EventWriter::create(&self.output.tensorboard(), trainer.step())?;
        if trainer.step() == 0 && !self.opened.settings.disable_benchmark {
            self.validate(&mut trainer, &mut events)?;
        }
        let outcome = self.steps(&mut trainer, &mut log, &mut events);
        outcome.map_err(|error| Failed { error: self.with_last_checkpoint(error), while_running: true })
    }

    /// The steps that are left, and what stands at the end.
    fn steps(
        &mut self,
        trainer: &mut Trainer<'_>,
        log: &mut MetricsLog,
        events: &mut EventWriter,
    ) -> Result<Outcome> {
        let settings = &self.opened.settings;
        let total = self.opened.schedule.total_steps() as u64;
        self.observer.training(trainer.step(), total);
        let mut stopping = self.is_stopping();
        while trainer.step() < total {
            // The steps done so far have their checkpoint.
            if stopping {
                return Ok(Outcome::Stopped(trainer.step()));
            }
            let report = trainer.advance()?;
            let metrics = metrics_of(&report);
            log.append(&metrics)?;
            events.scalars(report.step, &scalars(&metrics))?;
            self.observer.step(&metrics);
            stopping = self.is_stopping();
            let last = report.step == total;
            if last || stopping || due(report.step, settings.checkpointing_steps) {
                self.checkpoint(trainer)?;
            }
            if !last && !stopping && due(report.step, settings.validation_steps) {
                self.validate(trainer, events)?;
            }
        }
        self.finish(trainer, events)?;
        Ok(Outcome::Finished)
    }

    fn is_stopping(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Names the last good checkpoint in the hint of `error`.
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
        let (limit, states) = (settings.checkpoints_total_limit, settings.checkpoints_state_limit);
        checkpoint::prune(self.output, trainer.step(), limit, states)
    }

    /// The adapters as they are exported.
    fn modules(&self, trainer: &mut Trainer<'_>) -> Result<Vec<LoraModule>> {
        let averaged = self.opened.recipe.average.is_some();
        let source = if averaged { Flat::Average } else { Flat::Parameters };
        load::collect(trainer.engine(), &self.opened.recipe.adapters, source)
    }

    fn validate(&mut self, trainer: &mut Trainer<'_>, events: &mut EventWriter) -> Result<Vec<Drawn>> {
        let step = trainer.step();
        let Some(validation) = &mut self.validation else { return Ok(Vec::new()) };
        let observer = &mut *self.observer;
        let mut drawn = |done, total| observer.drawn(step, done, total);
        let pictures = validation.draw(trainer.engine(), self.output, step, &mut drawn)?;
        for drawn in &pictures {
            let tag = format!("validation/{}_{}x{}", drawn.name, drawn.size.width, drawn.size.height);
            events.image(step, &tag, &drawn.picture)?;
        }
        Ok(pictures)
    }

    /// Draws and writes what stands at the end of a run. The LoRA comes last: where it is, the run is finished.
    fn finish(&mut self, trainer: &mut Trainer<'_>, events: &mut EventWriter) -> Result<()> {
        self.validate(trainer, events)?;
        plot::write(&self.output.plot(), &metrics::read(&self.output.metrics())?)?;
        validation::before_after(self.opened, self.output, trainer.step())?;
        let step = trainer.step();
        if let Some(validation) = &mut self.validation {
            validation.draw_strengths(trainer.engine(), self.output, step)?;
        }
        checkpoint::export(self.output, trainer.step())?;
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
        samples: report.samples as u64,
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
