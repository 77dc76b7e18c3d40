//! Validation pictures: every prompt at every size, as PNGs with their settings inside.

use crate::autograd::Engine;
use crate::cache::TextEmbeddings;
use crate::encode::Encoded;
use crate::error::{Error, ErrorKind, Result};
use crate::models::vae::Vae;
use crate::report::png::{self, PictureText};
use crate::run::Opened;
use crate::settings::Size;
use crate::train::output_folder::OutputFolder;
use crate::validate::{Drawing, Picture, PictureModel, Prompt};
use image::RgbImage;
use serde_json::json;

/// Draws the validation pictures of a run.
#[derive(Debug)]
pub struct Validation<'a> {
    opened: &'a Opened,
    drawing: Drawing<'a>,
    vae: Vae,
    prompts: Vec<TextEmbeddings>,
    negative: TextEmbeddings,
}

/// One picture that was drawn.
#[derive(Debug, Clone)]
pub struct Drawn {
    /// The prompt's name.
    pub name: String,
    /// Its size.
    pub size: Size,
    /// The picture.
    pub picture: RgbImage,
}

impl<'a> Validation<'a> {
    /// The validation of a run; none if it has no prompts.
    pub fn open(
        opened: &'a Opened,
        model: PictureModel<'a>,
        store: &crate::cache::Store,
        encoded: &Encoded,
    ) -> Result<Option<Self>> {
        if opened.settings.validation_prompts.is_empty() {
            return Ok(None);
        }
        let mut texts = Vec::new();
        for key in &encoded.prompts {
            texts.push(store.texts.get(key).ok_or_else(|| {
                Error::new(ErrorKind::Files, "cache", "an embedding that was just made is gone or damaged")
            })?);
        }
        let Some(negative) = texts.pop() else { return Ok(None) };
        let (drawing, vae) = (Drawing::new(model), opened.vae()?);
        Ok(Some(Self { opened, drawing, vae, prompts: texts, negative }))
    }

    /// Draws everything with the adapters that `engine` holds and writes it for `step`.
    pub fn draw(
        &mut self,
        engine: &mut Engine,
        output: &OutputFolder,
        step: u64,
        drawn: &mut dyn FnMut(usize, usize),
    ) -> Result<Vec<Drawn>> {
        let settings = &self.opened.settings;
        let total = settings.validation_prompts.len() * settings.validation_resolution.len();
        let mut pictures = Vec::new();
        for (prompt, text) in settings.validation_prompts.iter().zip(&self.prompts) {
            for &size in &settings.validation_resolution {
                let picture = Picture {
                    width: size.width as usize,
                    height: size.height as usize,
                    steps: settings.validation_num_inference_steps,
                    guidance: settings.validation_guidance,
                    seed: settings.validation_seed,
                    shift: f64::from(self.opened.model.scheduler_shift),
                };
                let embeddings = Prompt { positive: text, negative: &self.negative };
                let latents = self.drawing.draw(engine, embeddings, picture)?;
                let values = self.vae.decode(engine, &latents, (picture.width, picture.height))?;
                let image = png::picture(&values, size.width, size.height)?;
                let about = about(&prompt.text, &settings.validation_negative_prompt, &picture, Some(step));
                let path = output.validation_image(step, &prompt.name, size.width, size.height);
                png::write(&path, &image, &about.chunks())?;
                pictures.push(Drawn { name: prompt.name.clone(), size, picture: image });
                drawn(pictures.len(), total);
            }
        }
        Ok(pictures)
    }
}

/// What a picture's text chunks say.
pub fn about(prompt: &str, negative_prompt: &str, picture: &Picture, step: Option<u64>) -> PictureText {
    let guided = picture.guidance > 1.0;
    let details = [
        ("Steps", picture.steps.to_string()),
        ("Sampler", "Euler".to_owned()),
        ("CFG scale", picture.guidance.to_string()),
        ("Seed", picture.seed.to_string()),
        ("Size", format!("{}x{}", picture.width, picture.height)),
        ("Shift", picture.shift.to_string()),
    ];
    PictureText {
        prompt: prompt.to_owned(),
        negative_prompt: if guided { negative_prompt.to_owned() } else { String::new() },
        details: details.map(|(name, value)| (name.to_owned(), value)).to_vec(),
        settings: json!({
            "prompt": prompt,
            "negative_prompt": negative_prompt,
            "steps": picture.steps,
            "guidance": picture.guidance,
            "seed": picture.seed,
            "width": picture.width,
            "height": picture.height,
            "shift": picture.shift,
            "training_step": step,
        }),
    }
}
