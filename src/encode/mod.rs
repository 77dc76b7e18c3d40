//! Runs the encoders over the dataset and the prompts and fills the cache; whatever is there already is left alone.
//!
//! Encoders are opened only if something is missing, and are gone when this returns.

mod texts;

pub use texts::TextWork;

use crate::autograd::{Engine, Persistent};
use crate::cache::{self, LatentKey, Store, TextKey};
use crate::dataset::{Dataset, Pixels, Sample, View};
use crate::device::Device;
use crate::error::Result;
use crate::models::mmdit::config::LATENT_PIXEL;
use crate::models::text::{GROUP, TextEncoders};
use crate::models::vae::Vae;
use crate::weights::ModelFiles;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};

/// What has to be in the cache.
#[derive(Debug, Clone, Copy)]
pub struct Work<'a> {
    /// The pictures.
    pub dataset: &'a Dataset,
    /// Every text that they are trained with and that is known before.
    pub captions: &'a BTreeSet<String>,
    /// Every prompt that will be drawn, the negative one among them.
    pub prompts: &'a [String],
    /// Length in tokens of the T5 part.
    pub t5_length: usize,
    /// Rows of a picture that the VAE handles at a time; 0: as many as suit it.
    pub vae_band_rows: usize,
    /// Whether to break off; what is encoded by then stays in the cache.
    pub stop: &'a AtomicBool,
    /// The device that encodes.
    pub device: &'a Device,
}

/// The keys under which everything lies.
#[derive(Debug, Clone)]
pub struct Encoded {
    /// Latents of every sample, one key a view.
    pub latents: Vec<Vec<LatentKey>>,
    /// The prompts, in order.
    pub prompts: Vec<TextKey>,
    /// The empty caption; the key of any other text differs in the text alone.
    pub empty_caption: TextKey,
    /// Views of pictures that were encoded now.
    pub new_latents: usize,
    /// Texts that were encoded now.
    pub new_texts: usize,
}

/// What is being encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Pictures to latents.
    Pictures,
    /// Captions and prompts to embeddings.
    Texts,
}

/// Fills `store`; `progress` hears the stage, how much of it is done and how much there is. None if it was stopped.
///
/// # Errors
/// A missing encoder, a picture that changed since it was scanned, a disk that cannot be written.
pub fn fill(
    store: &Store,
    model: &ModelFiles,
    work: &Work<'_>,
    progress: &mut dyn FnMut(Stage, usize, usize),
) -> Result<Option<Encoded>> {
    let vae_hash = model.vae_fingerprint()?;
    let latents: Vec<Vec<LatentKey>> =
        work.dataset.samples.iter().map(|sample| latent_keys(sample, &vae_hash)).collect();
    let Some(new_latents) = encode_pictures(store, model, work, &latents, progress)? else { return Ok(None) };

    let encoders = TextEncoders::open(model)?;
    let encoders_hash = encoders.fingerprint()?;
    let key = |text: &str| TextKey {
        text: text.to_owned(),
        encoders_hash: encoders_hash.clone(),
        t5_length: work.t5_length,
    };
    let prompts: Vec<TextKey> = work.prompts.iter().map(|prompt| key(prompt)).collect();
    let empty_caption = key("");
    let texts = work.captions.iter().chain(work.prompts).map(String::as_str).chain([""]);
    let texts: BTreeSet<&str> = texts.collect();
    let missing: Vec<TextKey> = texts.into_iter().map(key).filter(|key| !store.texts.contains(key)).collect();
    let is_done = encode_texts(store, &encoders, &missing, work, progress)?;
    let new_texts = missing.len();
    Ok(is_done.then_some(Encoded { latents, prompts, empty_caption, new_latents, new_texts }))
}

/// The keys of a sample's views.
fn latent_keys(sample: &Sample, vae_hash: &str) -> Vec<LatentKey> {
    let key = |View { crop, change }: &View| LatentKey {
        content_hash: sample.content_hash.clone(),
        crop: [crop.x, crop.y, crop.width, crop.height],
        bucket: [sample.bucket.width, sample.bucket.height],
        change: change.numbers(),
        vae_hash: vae_hash.to_owned(),
    };
    sample.views.iter().map(key).collect()
}

fn encode_pictures(
    store: &Store,
    model: &ModelFiles,
    work: &Work<'_>,
    keys: &[Vec<LatentKey>],
    progress: &mut dyn FnMut(Stage, usize, usize),
) -> Result<Option<usize>> {
    let missing = missing_views(store, work.dataset, keys);
    let total = missing.iter().map(|(_, views)| views.len()).sum();
    if total == 0 {
        return Ok(Some(0));
    }
    let mut vae = Vae::open(model.vae()?, &model.vae_constants)?.with_band_rows(work.vae_band_rows);
    let mut engine = Engine::new(work.device.clone(), 0, Persistent::new(1))?;
    let mut done = 0;
    for (sample, views) in missing {
        let mut picture = None;
        for (view, key) in views {
            if work.stop.load(Ordering::Relaxed) {
                return Ok(None);
            }
            progress(Stage::Pictures, done, total);
            let pixels = match &picture {
                Some(picture) => sample.pixels(picture, view)?,
                None => sample.pixels(picture.insert(sample.load()?), view)?,
            };
            store.latents.put(key, &encode_view(&mut vae, &mut engine, &pixels)?)?;
            done += 1;
        }
    }
    progress(Stage::Pictures, total, total);
    Ok(Some(total))
}

/// The samples of which `store` lacks views, each with those views.
fn missing_views<'a>(
    store: &Store,
    dataset: &'a Dataset,
    keys: &'a [Vec<LatentKey>],
) -> Vec<(&'a Sample, Vec<(&'a View, &'a LatentKey)>)> {
    let of_sample = |(sample, keys): (&'a Sample, &'a Vec<LatentKey>)| {
        let views = sample.views.iter().zip(keys);
        (sample, views.filter(|(_, key)| !store.latents.contains(key)).collect::<Vec<_>>())
    };
    dataset.samples.iter().zip(keys).map(of_sample).filter(|(_, views)| !views.is_empty()).collect()
}

fn encode_view(vae: &mut Vae, engine: &mut Engine, pixels: &Pixels) -> Result<cache::Latents> {
    let encoded = vae.encode(engine, &pixels.data, (pixels.width, pixels.height))?;
    let (height, width) = (pixels.height / LATENT_PIXEL, pixels.width / LATENT_PIXEL);
    let shape = [encoded.mean.len() / (height * width), height, width];
    Ok(cache::Latents { shape, mean: encoded.mean, logvar: encoded.logvar })
}

fn encode_texts(
    store: &Store,
    encoders: &TextEncoders,
    missing: &[TextKey],
    work: &Work<'_>,
    progress: &mut dyn FnMut(Stage, usize, usize),
) -> Result<bool> {
    if missing.is_empty() {
        return Ok(true);
    }
    let mut engine = Engine::new(work.device.clone(), 0, Persistent::new(1))?;
    let texts =
        TextWork { encoders, shelf: &store.texts, together: GROUP, always_full: false, stop: work.stop };
    texts.encode(&mut engine, missing, &mut |done| progress(Stage::Texts, done, missing.len()))
}
