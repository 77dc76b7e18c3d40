//! One picture from a prompt, with any number of LoRAs.

use crate::autograd::Engine;
use crate::cache::TextEmbeddings;
use crate::device::Device;
use crate::error::{Error, Result};
use crate::export::{self, Changes};
use crate::files;
use crate::models::adapter::{AdapterModule, Adapters, Form, load};
use crate::models::mmdit::MmditConfig;
use crate::models::text::{TextEmbedding, TextEncoders};
use crate::models::vae::Vae;
use crate::models::weight_source::ModelWeights;
use crate::report::png;
use crate::run::merged::MergedWeights;
use crate::run::opening::{check_size, check_skipped_blocks, open_model, skip_layers};
use crate::run::validation::about;
use crate::settings::{RunSettings, Size};
use crate::validate::{Drawing, Picture, PictureModel, Prompt};
use std::path::{Path, PathBuf};

/// What to draw.
#[derive(Debug, Clone)]
pub struct Request {
    /// LoRA files with their strengths.
    pub loras: Vec<(PathBuf, f64)>,
    /// The prompt.
    pub prompt: String,
    /// What to guide away from.
    pub negative: String,
    /// Steps.
    pub steps: usize,
    /// Guidance; 1 or less is none.
    pub guidance: f64,
    /// Size.
    pub size: Size,
    /// Seed of the initial noise.
    pub seed: u64,
    /// Where the PNG goes.
    pub out: PathBuf,
}

/// Draws and writes the picture.
pub fn sample(settings: &RunSettings, request: &Request, device: &Device) -> Result<()> {
    let model = open_model(settings)?;
    let config = MmditConfig::from_weights(&model.mmdit)?;
    check_size(&config, "--width and --height", request.size)?;
    check_skipped_blocks(&config, settings)?;
    refuse_unwritable(&request.out)?;
    let Loras { adapters, values, changes } = Loras::read(&config, &request.loras)?;
    let picture = Picture {
        width: request.size.width as usize,
        height: request.size.height as usize,
        steps: request.steps,
        guidance: request.guidance,
        seed: request.seed,
        shift: f64::from(model.scheduler_shift),
        skip_layers: skip_layers(settings),
    };
    let persistent = load::region(&adapters);
    let mut engine = Engine::new(device.clone(), 0, persistent.clone())?;
    let texts = {
        let encoders = TextEncoders::open(&model)?;
        let prompts = [request.prompt.as_str(), request.negative.as_str()];
        encoders.encode_batch(&mut engine, &prompts, settings.tokenizer_max_length)?
    };
    let texts: Vec<TextEmbeddings> = texts.into_iter().map(entry).collect();
    let latents = {
        let drawn = PictureModel {
            weights: &model.mmdit,
            config: &config,
            adapters: &adapters,
            persistent: &persistent,
            skipped_blocks: &settings.validation_guidance_skip_layers,
        };
        load::write(&mut engine, &adapters, &values)?;
        let prompt = Prompt { positive: &texts[0], negative: &texts[1] };
        let mut drawing = Drawing::new(drawn);
        let weights = MergedWeights { base: ModelWeights(&model.mmdit), changes: &changes };
        drawing.prepare(&mut engine, &prompt, &picture, &weights)?;
        drawing.draw(&mut engine, prompt, picture)?
    };
    let mut vae = Vae::open(model.vae()?, &model.vae_constants)?.with_band_rows(settings.vae_band_rows);
    let values = vae.decode(&mut engine, &latents, (picture.width, picture.height))?;
    let image = png::picture(&values, request.size.width, request.size.height)?;
    let about = about(&request.prompt, &request.negative, &picture, None);
    png::write(&request.out, &image, &about.chunks())
}

/// Before the work is done whose result is to be written there.
fn refuse_unwritable(out: &Path) -> Result<()> {
    let written =
        if out.is_dir() { Err(std::io::ErrorKind::IsADirectory.into()) } else { files::is_writable(out) };
    written.map_err(|e| Error::io(out, &e).hint("choose another --out"))
}

/// The adapters of all files.
#[derive(Default)]
struct Loras {
    /// Low-rank pairs, which work beside the weights.
    adapters: Adapters,
    /// The values of each of them.
    values: Vec<AdapterModule>,
    /// Everything else, to be merged into the weights as they are loaded.
    changes: Changes,
}

impl Loras {
    fn read(config: &MmditConfig, files: &[(PathBuf, f64)]) -> Result<Self> {
        let mut all = Vec::new();
        for (index, (path, strength)) in files.iter().enumerate() {
            let values = export::read_adapters(path)?;
            let adapters = load::adapters(config, path, &format!("{index}."), &values, *strength)?;
            all.extend(
                adapters.into_iter().zip(values).map(|(adapter, values)| (adapter, values, *strength)),
            );
        }
        // What follows magnitudes on a layer must see what they made of it, so such a layer is merged as a whole.
        let is_pair = |form| matches!(form, Form::LowRank { .. });
        let merged: Vec<String> = all
            .iter()
            .filter(|(adapter, ..)| adapter.with_magnitude || !is_pair(adapter.form))
            .map(|(adapter, ..)| adapter.module.path.clone())
            .collect();
        let mut loras = Self::default();
        for (adapter, values, strength) in all {
            if merged.contains(&adapter.module.path) {
                loras.changes.add(&adapter.module, &values, strength);
            } else {
                loras.adapters.all.push(adapter);
                loras.values.push(values);
            }
        }
        Ok(loras)
    }
}

fn entry(text: TextEmbedding) -> TextEmbeddings {
    let shape = [text.tokens, text.width];
    TextEmbeddings { shape, prompt_embeds: text.prompt_embeds, pooled: text.pooled }
}
