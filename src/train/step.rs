//! The step program: from cached latents and embeddings to gradients of every adapter.

use crate::autograd::persistent::Flat;
use crate::autograd::recompute::{self, Recompute};
use crate::autograd::run::Planned;
use crate::autograd::{Engine, Persistent, Program, derive};
use crate::cache::{Latents, TextEmbeddings};
use crate::error::Result;
use crate::models::adapter::Adapters;
use crate::models::mmdit::config::{LATENT_PIXEL, PATCH};
use crate::models::mmdit::{MmditConfig, ModulationVectors, TransformerInputs, record_transformer};
use crate::ops;
use crate::tensor::TensorId;
use std::rc::Rc;

/// What tells the step programs of a run apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StepShape {
    /// Samples.
    pub batch: usize,
    /// Picture width in pixels.
    pub width: usize,
    /// Picture height in pixels.
    pub height: usize,
    /// Text tokens.
    pub text_tokens: usize,
    /// Whether the target is what the model predicts without adapters, instead of the velocity.
    pub keeps_the_model: bool,
}

/// What all step programs of a run share.
#[derive(Debug, Clone, Copy)]
pub struct StepModel<'a> {
    /// The model's sizes.
    pub config: &'a MmditConfig,
    /// What is trained.
    pub adapters: &'a Adapters,
    /// Where it lies.
    pub persistent: &'a Persistent,
    /// Shift and scale between the VAE's latents and the transformer's.
    pub latent_scaling: (f32, f32),
}

/// What is written before a step program runs.
#[derive(Debug, Clone)]
pub struct StepInputs {
    /// Mean of every sample's latent distribution.
    pub mean: TensorId,
    /// Logarithm of its variance.
    pub logvar: TensorId,
    /// Prompt embeddings.
    pub prompt_embeds: TensorId,
    /// Positions of the patches.
    pub positions: TensorId,
    /// Modulation vectors.
    pub modulation: ModulationVectors,
}

/// The values of a step program's inputs.
#[derive(Debug)]
pub struct StepValues<'a> {
    /// Latent distribution and text of every sample.
    pub samples: Vec<(Rc<Latents>, Rc<TextEmbeddings>)>,
    /// Positions of the patches.
    pub positions: &'a [f32],
    /// Modulation vectors, in the order of [`ModulationVectors::all`].
    pub modulation: &'a [Vec<f32>],
}

impl StepShape {
    /// Shape of the latents.
    pub fn latents(&self, config: &MmditConfig) -> [usize; 4] {
        [self.batch, config.channels, self.height / LATENT_PIXEL, self.width / LATENT_PIXEL]
    }

    /// Image tokens of a sample.
    pub fn image_tokens(&self) -> usize {
        self.width / (LATENT_PIXEL * PATCH) * (self.height / (LATENT_PIXEL * PATCH))
    }
}

impl StepInputs {
    /// Declares the inputs of a program of `shape`.
    fn declare(program: &mut Program, config: &MmditConfig, shape: &StepShape) -> Self {
        let latents = shape.latents(config);
        Self {
            mean: program.input("mean", latents),
            logvar: program.input("logvar", latents),
            prompt_embeds: program
                .input("prompt_embeds", [shape.batch, shape.text_tokens, config.context_width]),
            positions: program.input("positions", [shape.image_tokens(), config.width]),
            modulation: ModulationVectors::inputs(program, config, shape.batch),
        }
    }

    /// Writes them for the next run of `planned`.
    pub fn write(&self, engine: &mut Engine, planned: &Planned, values: &StepValues<'_>) -> Result<()> {
        let (mut mean, mut logvar, mut prompt_embeds) = (Vec::new(), Vec::new(), Vec::new());
        for (latents, text) in &values.samples {
            mean.extend_from_slice(&latents.mean);
            logvar.extend_from_slice(&latents.logvar);
            prompt_embeds.extend_from_slice(&text.prompt_embeds);
        }
        engine.write(planned, self.mean, &mean)?;
        engine.write(planned, self.logvar, &logvar)?;
        engine.write(planned, self.prompt_embeds, &prompt_embeds)?;
        engine.write(planned, self.positions, values.positions)?;
        let mut modulation = self.modulation.all().zip(values.modulation);
        modulation.try_for_each(|(id, vectors)| engine.write(planned, id, vectors))
    }
}

/// Records noising, transformer, loss and the backward pass that adds to the flat gradient buffer.
pub fn record(model: &StepModel<'_>, shape: &StepShape, policy: Recompute) -> Result<(Program, StepInputs)> {
    let mut program = Program::new();
    let (inputs, prediction, seed) = record_loss(&mut program, model, shape)?;
    let sinks = gradient_sinks(&mut program, model.persistent);
    derive::derive(&mut program, &[(prediction, seed)], &sinks, &[], ops::derivative)?;
    recompute::apply(&mut program, policy);
    Ok((program, inputs))
}

/// Records the same up to the loss, which is all that an evaluation needs.
pub fn record_evaluation(model: &StepModel<'_>, shape: &StepShape) -> Result<(Program, StepInputs)> {
    let mut program = Program::new();
    let (inputs, ..) = record_loss(&mut program, model, shape)?;
    Ok((program, inputs))
}

/// Noising, transformer and loss; gives the prediction and its gradient too.
fn record_loss(
    program: &mut Program,
    model: &StepModel<'_>,
    shape: &StepShape,
) -> Result<(StepInputs, TensorId, TensorId)> {
    let StepModel { config, adapters, persistent, latent_scaling } = *model;
    let state = persistent.step_state(program, shape.batch);
    let inputs = StepInputs::declare(program, config, shape);
    let distribution = (inputs.mean, inputs.logvar);
    let latents = ops::flow::sample_latents(program, distribution, latent_scaling, state)?;
    let noise = ops::flow::draw_noise(program, latents, state)?;
    let noised = ops::flow::noise_latents(program, latents, noise, state)?;
    let transformer = TransformerInputs {
        latents: noised.noisy,
        prompt_embeds: inputs.prompt_embeds,
        positions: inputs.positions,
        modulation: inputs.modulation.clone(),
    };
    // Recorded first, so that nothing of it is kept while the adapted model runs.
    let target = match shape.keeps_the_model {
        true => record_transformer(program, config, &Adapters::default(), persistent, &transformer)?,
        false => noised.velocity,
    };
    let prediction = record_transformer(program, config, adapters, persistent, &transformer)?;
    let seed = ops::flow::velocity_loss(program, prediction, target, state)?;
    Ok((inputs, prediction, seed))
}

/// Every parameter that the program uses, with its place in the gradient buffer.
pub fn gradient_sinks(program: &mut Program, persistent: &Persistent) -> Vec<(TensorId, TensorId)> {
    let mut sinks = Vec::new();
    for parameter in persistent.parameters() {
        let mut tensor = |flat| persistent.tensor(program, &parameter.name, flat);
        sinks.extend(tensor(Flat::Parameters).zip(tensor(Flat::Gradients)));
    }
    sinks
}
