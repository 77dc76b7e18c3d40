//! Draws latents: initial noise, Euler steps with classifier-free guidance, one recorded program a picture size.
//!
//! The same seed, prompt and settings give the same picture as diffusers: the noise is torch's, the schedule and
//! the formulas are its scheduler's.

use crate::autograd::run::{Planned, WeightSource};
use crate::autograd::{Engine, Persistent, Program};
use crate::cache::TextEmbeddings;
use crate::diffusion::sampler::{self, Guidance, SkipLayerGuidance, Velocity};
use crate::diffusion::sigmas::{Schedule, timestep};
use crate::diffusion::torch_noise::randn;
use crate::error::Result;
use crate::models::adapter::Adapters;
use crate::models::mmdit::config::LATENT_PIXEL;
use crate::models::mmdit::{
    Conditioning, MmditConfig, ModulationAhead, ModulationVectors, TransformerInputs, positions,
    record_modulation, record_transformer_without,
};
use crate::models::weight_source::ModelWeights;
use crate::tensor::TensorId;
use crate::weights::WeightMap;
use std::collections::BTreeMap;

/// Steps whose modulation vectors are made at once.
pub const STEPS_AHEAD: usize = 8;

/// The model that draws.
#[derive(Debug, Clone, Copy)]
pub struct PictureModel<'a> {
    /// Its weights.
    pub weights: &'a WeightMap,
    /// Its sizes.
    pub config: &'a MmditConfig,
    /// Its adapters, as they are for inference.
    pub adapters: &'a Adapters,
    /// Where those lie.
    pub persistent: &'a Persistent,
    /// The blocks that skip-layer guidance leaves out.
    pub skipped_blocks: &'a [usize],
}

/// What tells programs apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Shape {
    /// Width in pixels.
    pub width: usize,
    /// Height in pixels.
    pub height: usize,
    /// Text tokens.
    pub text_tokens: usize,
    /// Whose predictions the program makes.
    pub part: Part,
}

/// The predictions that a program makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// That for the prompt.
    Prompt,
    /// Those for the negative prompt and for the prompt.
    Both,
    /// That for the prompt, without the skipped blocks.
    Skipping,
}

impl Part {
    /// Latents that it works on together.
    pub fn rows(self) -> usize {
        if self == Self::Both { 2 } else { 1 }
    }
}

impl Shape {
    /// The shapes of the programs that draw pictures of one size.
    pub fn of_picture(
        (width, height): (usize, usize),
        text_tokens: usize,
        guidance: Guidance,
        skipping: bool,
    ) -> Vec<Self> {
        let shape = |part| Self { width, height, text_tokens, part };
        match (guidance.is_on(), skipping) {
            (false, _) => vec![shape(Part::Prompt)],
            (true, false) => vec![shape(Part::Both)],
            (true, true) => vec![shape(Part::Both), shape(Part::Skipping)],
        }
    }
}

/// Embeddings of a prompt and of what it is guided away from.
#[derive(Debug, Clone, Copy)]
pub struct Prompt<'a> {
    /// The prompt.
    pub positive: &'a TextEmbeddings,
    /// The negative prompt; not looked at without guidance.
    pub negative: &'a TextEmbeddings,
}

impl<'a> Prompt<'a> {
    /// The texts of the rows of `part`: the negative prompt comes first.
    fn texts(self, part: Part) -> impl Iterator<Item = &'a TextEmbeddings> {
        (part == Part::Both).then_some(self.negative).into_iter().chain([self.positive])
    }

    /// Their embeddings, one after the other.
    fn embeddings(self, part: Part) -> Vec<f32> {
        self.texts(part).flat_map(|text| text.prompt_embeds.iter().copied()).collect()
    }
}

/// How one picture is drawn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Picture {
    /// Width in pixels.
    pub width: usize,
    /// Height in pixels.
    pub height: usize,
    /// Steps.
    pub steps: usize,
    /// Classifier-free guidance; 1 or less is none.
    pub guidance: f64,
    /// Seed of the initial noise.
    pub seed: u64,
    /// The schedule's shift.
    pub shift: f64,
    /// Skip-layer guidance, which needs classifier-free guidance.
    pub skip_layers: Option<SkipLayerGuidance>,
}

/// Recorded programs for pictures of some shapes.
#[derive(Debug)]
pub struct Drawing<'a> {
    model: PictureModel<'a>,
    transformers: BTreeMap<Shape, (Planned, TransformerInputs, TensorId)>,
    modulations: BTreeMap<usize, ModulationAhead>,
}

impl<'a> Drawing<'a> {
    /// Nothing recorded yet.
    pub fn new(model: PictureModel<'a>) -> Self {
        Self { model, transformers: BTreeMap::new(), modulations: BTreeMap::new() }
    }

    /// The program for `shape`, without its plan.
    pub fn record(model: &PictureModel<'_>, shape: Shape) -> Result<(Program, TransformerInputs, TensorId)> {
        let PictureModel { config, adapters, persistent, .. } = *model;
        let batch = shape.part.rows();
        let (height, width) = (shape.height / LATENT_PIXEL, shape.width / LATENT_PIXEL);
        let mut program = Program::new();
        let inputs = TransformerInputs {
            latents: program.input("latents", [batch, config.channels, height, width]),
            prompt_embeds: program.input("prompt_embeds", [batch, shape.text_tokens, config.context_width]),
            positions: program
                .input("positions", [config.image_tokens(shape.width, shape.height), config.width]),
            modulation: ModulationVectors::inputs(&mut program, config, batch),
        };
        let skipped = if shape.part == Part::Skipping { model.skipped_blocks } else { &[] };
        let velocity =
            record_transformer_without(&mut program, config, adapters, persistent, &inputs, skipped)?;
        program.output(velocity);
        Ok((program, inputs, velocity))
    }

    /// Draws one picture's latents `[channels, h, w]`, scaled as the transformer has them.
    ///
    /// Programs are recorded and weights loaded when first needed; the arena grows where it must.
    pub fn draw(&mut self, engine: &mut Engine, prompt: Prompt<'_>, picture: Picture) -> Result<Vec<f32>> {
        let shapes = self.prepare(engine, &prompt, &picture, &ModelWeights(self.model.weights))?;
        let guidance = Guidance(picture.guidance);
        let skip_layers = picture.skip_layers.filter(|_| guidance.is_on());
        let schedule = Schedule::sampling(picture.steps, picture.shift)?;
        let part = shapes[0].part;
        self.make_modulation_vectors(engine, prompt, part, &schedule)?;
        let (width, height) = (picture.width / LATENT_PIXEL, picture.height / LATENT_PIXEL);
        let noise = randn(picture.seed, self.model.config.channels * height * width);
        let positions = positions::read(self.model.weights, self.model.config, height, width)?;
        let Some(ahead) = self.modulations.get_mut(&part.rows()) else { unreachable!("prepared above") };
        let transformers = &self.transformers;
        let mut predict = |shape: &Shape, latents: &[f32], vectors: &[Vec<f32>]| {
            let Some((planned, inputs, velocity)) = transformers.get(shape) else {
                unreachable!("prepared above")
            };
            engine.write(planned, inputs.latents, &latents.repeat(shape.part.rows()))?;
            engine.write(planned, inputs.prompt_embeds, &prompt.embeddings(shape.part))?;
            engine.write(planned, inputs.positions, &positions)?;
            for (id, values) in inputs.modulation.all().zip(vectors) {
                engine.write(planned, id, values)?;
            }
            engine.run(planned)?;
            engine.read(planned, *velocity)
        };
        let mut step = 0;
        let velocity = |latents: &[f32], _sigma: f64| {
            let vectors = ahead.take(part.rows());
            let both = predict(&shapes[0], latents, &vectors)?;
            let (negative, positive) = both.split_at(both.len() - latents.len());
            let acting = skip_layers.filter(|guidance| guidance.acts_at(step, picture.steps));
            let skipped = match (acting, shapes.get(1)) {
                (Some(guidance), Some(shape)) => {
                    Some((predict(shape, latents, &of_prompt(&vectors))?, guidance.scale))
                }
                _ => None,
            };
            step += 1;
            let negative = (part == Part::Both).then(|| negative.to_vec());
            Ok(Velocity { negative, positive: positive.to_vec(), skipped })
        };
        sampler::sample(&noise, &schedule, guidance, velocity, |_| Ok(()))
    }

    /// Records and plans what a picture needs, and loads what the engine lacks of its weights from `weights`; gives the
    /// programs' shapes. Drawing does so by itself with the model's own weights.
    pub fn prepare(
        &mut self,
        engine: &mut Engine,
        prompt: &Prompt<'_>,
        picture: &Picture,
        weights: &dyn WeightSource,
    ) -> Result<Vec<Shape>> {
        let (guidance, size) = (Guidance(picture.guidance), (picture.width, picture.height));
        let skipping = guidance.is_on() && picture.skip_layers.is_some();
        let shapes = Shape::of_picture(size, prompt.positive.shape[0], guidance, skipping);
        shapes.iter().try_for_each(|&shape| self.prepare_shape(engine, shape, weights))?;
        Ok(shapes)
    }

    fn prepare_shape(&mut self, engine: &mut Engine, shape: Shape, weights: &dyn WeightSource) -> Result<()> {
        if !self.transformers.contains_key(&shape) {
            let (program, inputs, velocity) = Self::record(&self.model, shape)?;
            let planned = ready(engine, program, weights)?;
            self.transformers.insert(shape, (planned, inputs, velocity));
        }
        let rows = shape.part.rows();
        if !self.modulations.contains_key(&rows) {
            let mut program = Program::new();
            let PictureModel { config, adapters, persistent, .. } = self.model;
            let ahead = rows * STEPS_AHEAD;
            let (inputs, vectors) = record_modulation(&mut program, config, adapters, persistent, ahead)?;
            let planned = ready(engine, program, weights)?;
            self.modulations.insert(rows, ModulationAhead::new(planned, inputs, vectors, ahead));
        }
        Ok(())
    }

    /// Makes the vectors of all steps, the negative prompt before the positive in each.
    fn make_modulation_vectors(
        &mut self,
        engine: &mut Engine,
        prompt: Prompt<'_>,
        part: Part,
        schedule: &Schedule,
    ) -> Result<()> {
        let mut coming = Vec::new();
        for &sigma in &schedule.sigmas()[..schedule.steps()] {
            let conditioning = |text: &TextEmbeddings| Conditioning {
                timestep: timestep(sigma),
                pooled: text.pooled.clone(),
            };
            coming.extend(prompt.texts(part).map(conditioning));
        }
        match self.modulations.get_mut(&part.rows()) {
            Some(ahead) => ahead.fill(engine, &coming),
            None => Ok(()),
        }
    }
}

/// Of the vectors of both prompts, those of the prompt.
fn of_prompt(vectors: &[Vec<f32>]) -> Vec<Vec<f32>> {
    vectors.iter().map(|both| both[both.len() / 2..].to_vec()).collect()
}

/// Plans a program and makes room and weights for it.
fn ready(engine: &mut Engine, program: Program, weights: &dyn WeightSource) -> Result<Planned> {
    let planned = engine.plan(program)?;
    engine.reserve(&planned)?;
    engine.load_weights(&planned.program, weights)?;
    Ok(planned)
}
