//! A training run: from the opened parts to a trainer that stands ready, which [`Running`] takes to the final file.

use crate::cache::{LatentKey, Shelf, Store};
use crate::dataset::{Bucket, Sample};
use crate::device::Device;
use crate::encode::{self, Encoded, Work};
use crate::error::Result;
use crate::models::mmdit::config::LATENT_PIXEL;
use crate::models::mmdit::positions;
use crate::models::weight_source::ModelWeights;
use crate::run::epoch_texts::{self, EpochTexts};
use crate::run::progress::{Failed, Observer, Outcome};
use crate::run::report::Report;
use crate::run::steps::Running;
use crate::run::validation::Validation;
use crate::run::watch::{Course, Watch};
use crate::run::{Opened, disk, pace, samples};
use crate::train::checkpoint::{self, Restored};
use crate::train::data::SampleKeys;
use crate::train::output_folder::{OpenOptions, OutputFolder, Resume};
use crate::train::trainer::TrainerParts;
use crate::train::{Trainer, TrainingData};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::atomic::AtomicBool;

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
