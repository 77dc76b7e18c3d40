//! Runs the encoders over the dataset and the prompts and fills the cache; whatever is there already is left alone.
//!
//! Encoders are opened only if something is missing, and are gone when this returns.

use crate::autograd::{Engine, Persistent};
use crate::cache::{self, LatentKey, Store, TextKey};
use crate::dataset::{Dataset, Pixels, Sample, View};
use crate::device::Device;
use crate::error::Result;
use crate::models::mmdit::config::LATENT_PIXEL;
use crate::models::text::TextEncoders;
use crate::models::vae::Vae;
use crate::weights::ModelFiles;
use std::sync::atomic::{AtomicBool, Ordering};

/// Captions that go through the text encoders together, so that streamed weights are read once for all of them.
const CAPTIONS_A_BATCH: usize = 16;

/// What has to be in the cache.
#[derive(Debug, Clone, Copy)]
pub struct Work<'a> {
    /// The pictures and their captions.
    pub dataset: &'a Dataset,
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
    /// Captions of every sample, one key a variant.
    pub captions: Vec<Vec<TextKey>>,
    /// The prompts, in order.
    pub prompts: Vec<TextKey>,
    /// The empty caption.
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
    let captions: Vec<Vec<TextKey>> = work
        .dataset
        .samples
        .iter()
        .map(|sample| sample.captions.iter().map(|caption| key(caption)).collect())
        .collect();
    let prompts: Vec<TextKey> = work.prompts.iter().map(|prompt| key(prompt)).collect();
    let empty_caption = key("");
    let all = captions.iter().flatten().chain(&prompts).chain([&empty_caption]);
    let mut missing: Vec<&TextKey> = all.filter(|key| !store.texts.contains(key)).collect();
    missing.sort_by(|a, b| a.text.cmp(&b.text));
    missing.dedup();
    let new_texts = encode_texts(store, &encoders, &missing, work, progress)?;
    Ok(new_texts.map(|new_texts| Encoded {
        latents,
        captions,
        prompts,
        empty_caption,
        new_latents,
        new_texts,
    }))
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
    missing: &[&TextKey],
    work: &Work<'_>,
    progress: &mut dyn FnMut(Stage, usize, usize),
) -> Result<Option<usize>> {
    if missing.is_empty() {
        return Ok(Some(0));
    }
    let mut engine = Engine::new(work.device.clone(), 0, Persistent::new(1))?;
    for (batch, keys) in missing.chunks(CAPTIONS_A_BATCH).enumerate() {
        if work.stop.load(Ordering::Relaxed) {
            return Ok(None);
        }
        progress(Stage::Texts, batch * CAPTIONS_A_BATCH, missing.len());
        let texts: Vec<&str> = keys.iter().map(|key| key.text.as_str()).collect();
        for (key, encoded) in keys.iter().zip(encoders.encode_batch(&mut engine, &texts, work.t5_length)?) {
            let entry = cache::TextEmbeddings {
                shape: [encoded.tokens, encoded.width],
                prompt_embeds: encoded.prompt_embeds,
                pooled: encoded.pooled,
            };
            store.texts.put(key, &entry)?;
        }
    }
    progress(Stage::Texts, missing.len(), missing.len());
    Ok(Some(missing.len()))
}
