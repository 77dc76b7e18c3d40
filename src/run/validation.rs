//! Validation pictures: every prompt at every size, as PNGs with their settings inside.

use crate::autograd::Engine;
use crate::cache::TextEmbeddings;
use crate::encode::Encoded;
use crate::error::{Error, ErrorKind, Result};
use crate::models::vae::Vae;
use crate::report::grid::{self, GridRow};
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
    model: PictureModel<'a>,
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
        Ok(Some(Self { opened, model, drawing, vae, prompts: texts, negative }))
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
                let embeddings = Prompt { positive: text, negative: &self.negative };
                let picture = self.opened.validation_picture(size);
                let image = decoded(&mut self.drawing, &mut self.vae, engine, embeddings, picture)?;
                let about = about(&prompt.text, &settings.validation_negative_prompt, &picture, Some(step));
                let path = output.validation_image(step, &prompt.name, size.width, size.height);
                png::write(&path, &image, &about.chunks())?;
                pictures.push(Drawn { name: prompt.name.clone(), size, picture: image });
                drawn(pictures.len(), total);
            }
        }
        Ok(pictures)
    }

    /// Draws the first prompt at every strength of the LoRA that the settings name, as pictures and as one row.
    pub fn draw_strengths(&mut self, engine: &mut Engine, output: &OutputFolder, step: u64) -> Result<()> {
        let settings = &self.opened.settings;
        let strengths = &settings.validation_strengths;
        let first = settings.validation_prompts.first().zip(self.prompts.first());
        let (Some((prompt, text)), Some(&size)) = (first, settings.validation_resolution.first()) else {
            return Ok(());
        };
        if strengths.iter().all(|&strength| strength == 1.0) {
            return Ok(());
        }
        let embeddings = Prompt { positive: text, negative: &self.negative };
        let picture = self.opened.validation_picture(size);
        let mut row = Vec::new();
        for &strength in strengths {
            let Some(adapters) = self.model.adapters.strengthened(strength) else { return Ok(()) };
            let mut drawing = Drawing::new(PictureModel { adapters: &adapters, ..self.model });
            let image = decoded(&mut drawing, &mut self.vae, engine, embeddings, picture)?;
            let mut about = about(&prompt.text, &settings.validation_negative_prompt, &picture, Some(step));
            about.details.push(("LoRA strength".to_owned(), strength.to_string()));
            about.settings["strength"] = strength.into();
            let path = output.strength_image(step, &prompt.name, (size.width, size.height), strength);
            png::write(&path, &image, &about.chunks())?;
            row.push(image);
        }
        let columns: Vec<_> = strengths.iter().map(|strength| format!("strength {strength}")).collect();
        grid::write(&output.strengths(), &columns, &[GridRow { label: prompt.text.clone(), pictures: row }])
    }
}

/// The grid of the first and the last validation pictures, where both are there.
pub fn before_after(opened: &Opened, output: &OutputFolder, last: u64) -> Result<()> {
    let mut rows = Vec::new();
    for prompt in &opened.settings.validation_prompts {
        for size in &opened.settings.validation_resolution {
            let read = |step: u64| -> Option<RgbImage> {
                let path = output.validation_image(step, &prompt.name, size.width, size.height);
                Some(image::open(path).ok()?.to_rgb8())
            };
            if let (Some(before), Some(after)) = (read(0), read(last)) {
                rows.push(GridRow { label: prompt.text.clone(), pictures: vec![before, after] });
            }
        }
    }
    if rows.is_empty() {
        return Ok(());
    }
    let columns = ["before".to_owned(), format!("after {last} steps")];
    grid::write(&output.before_after(), &columns, &rows)
}

/// Draws latents and decodes them.
fn decoded(
    drawing: &mut Drawing<'_>,
    vae: &mut Vae,
    engine: &mut Engine,
    prompt: Prompt<'_>,
    picture: Picture,
) -> Result<RgbImage> {
    let latents = drawing.draw(engine, prompt, picture)?;
    let values = vae.decode(engine, &latents, (picture.width, picture.height))?;
    png::picture(&values, picture.width as u32, picture.height as u32)
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
    let skip_layers = picture
        .skip_layers
        .map(|skip| json!({ "start": skip.start, "stop": skip.stop, "scale": skip.scale }));
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
            "skip_layers": skip_layers,
            "training_step": step,
        }),
    }
}
