//! Draws latents: initial noise, Euler steps with classifier-free guidance, one recorded program a picture size.
//!
//! The same seed, prompt and settings give the same picture as diffusers: the noise is torch's, the schedule and
//! the formulas are its scheduler's.

use crate::autograd::run::{Planned, WeightSource};
use crate::autograd::{Engine, Persistent, Program};
use crate::cache::TextEmbeddings;
use crate::diffusion::sampler::{self, Guidance, Velocity};
use crate::diffusion::sigmas::{Schedule, timestep};
use crate::diffusion::torch_noise::randn;
use crate::error::Result;
use crate::models::adapter::Adapters;
use crate::models::mmdit::config::LATENT_PIXEL;
use crate::models::mmdit::{
    Conditioning, MmditConfig, ModulationAhead, ModulationVectors, TransformerInputs, positions,
    record_modulation, record_transformer,
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
    /// Whether a negative prompt is drawn along.
    pub guided: bool,
}

impl Shape {
    /// The shape of `picture` drawn by `prompt`.
    pub fn of(prompt: &Prompt<'_>, picture: &Picture) -> Self {
        Self {
            width: picture.width,
            height: picture.height,
            text_tokens: prompt.positive.shape[0],
            guided: Guidance(picture.guidance).is_on(),
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
        let batch = if shape.guided { 2 } else { 1 };
        let (height, width) = (shape.height / LATENT_PIXEL, shape.width / LATENT_PIXEL);
        let mut program = Program::new();
        let inputs = TransformerInputs {
            latents: program.input("latents", [batch, config.channels, height, width]),
            prompt_embeds: program.input("prompt_embeds", [batch, shape.text_tokens, config.context_width]),
            positions: program
                .input("positions", [config.image_tokens(shape.width, shape.height), config.width]),
            modulation: ModulationVectors::inputs(&mut program, config, batch),
        };
        let velocity = record_transformer(&mut program, config, adapters, persistent, &inputs)?;
        program.output(velocity);
        Ok((program, inputs, velocity))
    }

    /// Draws one picture's latents `[channels, h, w]`, scaled as the transformer has them.
    ///
    /// Programs are recorded and weights loaded when first needed; the arena grows where it must.
    pub fn draw(&mut self, engine: &mut Engine, prompt: Prompt<'_>, picture: Picture) -> Result<Vec<f32>> {
        let guidance = Guidance(picture.guidance);
        let shape = Shape::of(&prompt, &picture);
        let schedule = Schedule::sampling(picture.steps, picture.shift)?;
        self.prepare(engine, shape, &ModelWeights(self.model.weights))?;
        self.make_modulation_vectors(engine, prompt, shape, &schedule)?;
        let (height, width) = (shape.height / LATENT_PIXEL, shape.width / LATENT_PIXEL);
        let noise = randn(picture.seed, self.model.config.channels * height * width);
        let table = positions::read(self.model.weights, self.model.config, height, width)?;
        let rows = if shape.guided { 2 } else { 1 };
        let Some((planned, inputs, velocity)) = self.transformers.get(&shape) else {
            unreachable!("prepared above")
        };
        let mut prompt_embeds = Vec::new();
        if shape.guided {
            prompt_embeds.extend_from_slice(&prompt.negative.prompt_embeds);
        }
        prompt_embeds.extend_from_slice(&prompt.positive.prompt_embeds);
        let Some(ahead) = self.modulations.get_mut(&rows) else { unreachable!("prepared above") };
        let predict = |latents: &[f32], _sigma: f64| {
            engine.write(planned, inputs.latents, &latents.repeat(rows))?;
            engine.write(planned, inputs.prompt_embeds, &prompt_embeds)?;
            engine.write(planned, inputs.positions, &table)?;
            for (id, values) in inputs.modulation.all().zip(ahead.take(rows)) {
                engine.write(planned, id, &values)?;
            }
            engine.run(planned)?;
            let both = engine.read(planned, *velocity)?;
            let (negative, positive) = both.split_at(both.len() - latents.len());
            let negative = shape.guided.then(|| negative.to_vec());
            Ok(Velocity { negative, positive: positive.to_vec() })
        };
        sampler::sample(&noise, &schedule, guidance, predict, |_| Ok(()))
    }

    /// Records and plans what `shape` needs, and loads what the engine lacks of its weights from `weights`. Drawing does
    /// so by itself with the model's own.
    pub fn prepare(&mut self, engine: &mut Engine, shape: Shape, weights: &dyn WeightSource) -> Result<()> {
        if !self.transformers.contains_key(&shape) {
            let (program, inputs, velocity) = Self::record(&self.model, shape)?;
            let planned = ready(engine, program, weights)?;
            self.transformers.insert(shape, (planned, inputs, velocity));
        }
        let rows = if shape.guided { 2 } else { 1 };
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
        shape: Shape,
        schedule: &Schedule,
    ) -> Result<()> {
        let mut coming = Vec::new();
        for &sigma in &schedule.sigmas()[..schedule.steps()] {
            let texts = shape.guided.then_some(prompt.negative).into_iter().chain([prompt.positive]);
            coming.extend(
                texts.map(|text| Conditioning { timestep: timestep(sigma), pooled: text.pooled.clone() }),
            );
        }
        let rows = if shape.guided { 2 } else { 1 };
        match self.modulations.get_mut(&rows) {
            Some(ahead) => ahead.fill(engine, &coming),
            None => Ok(()),
        }
    }
}

/// Plans a program and makes room and weights for it.
fn ready(engine: &mut Engine, program: Program, weights: &dyn WeightSource) -> Result<Planned> {
    let planned = engine.plan(program)?;
    engine.reserve(&planned)?;
    engine.load_weights(&planned.program, weights)?;
    Ok(planned)
}
