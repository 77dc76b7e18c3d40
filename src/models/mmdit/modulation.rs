//! Modulation vectors: what timestep and pooled prompt say to every block.
//!
//! They depend on nothing that is trained, so they can be made ahead for the coming steps, and their weights (a
//! third of SD3.5 Large) need not be there while the transformer runs.

use crate::autograd::{Persistent, Program};
use crate::error::Result;
use crate::kernels::activation::Activation;
use crate::kernels::timestep_features::TimestepFeatures;
use crate::models::adapter::Adapters;
use crate::models::mmdit::config::{MmditConfig, TIME_FEATURES, block_name};
use crate::ops::activation::{activate, add};
use crate::ops::linear::linear;
use crate::tensor::TensorId;

/// The modulation vectors of a batch, one tensor `[rows, chunks * width]` a stream and block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModulationVectors {
    /// Image stream, by block: shift, scale, gate of attention, the same of the MLP, and of the second attention.
    pub image: Vec<TensorId>,
    /// Text stream, by block; the last has shift and scale only.
    pub text: Vec<TensorId>,
    /// Before the last linear: shift, scale.
    pub last: TensorId,
}

impl ModulationVectors {
    /// Declares them as inputs of a program.
    pub fn inputs(program: &mut Program, config: &MmditConfig, rows: usize) -> Self {
        let mut input = |name: String, chunks: usize| program.input(name, [rows, chunks * config.width]);
        Self {
            image: (0..config.depth).map(|i| input(image_name(i), config.image_chunks(i))).collect(),
            text: (0..config.depth).map(|i| input(text_name(i), config.text_chunks(i))).collect(),
            last: input("modulation.last".to_owned(), 2),
        }
    }

    /// All of them, in a fixed order.
    pub fn all(&self) -> impl Iterator<Item = TensorId> + '_ {
        self.image.iter().chain(&self.text).copied().chain([self.last])
    }
}

fn image_name(block: usize) -> String {
    format!("modulation.{block}.image")
}

fn text_name(block: usize) -> String {
    format!("modulation.{block}.text")
}

/// Inputs of the modulation program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ModulationInputs {
    /// 1000 sigma, `[rows]`.
    pub timesteps: TensorId,
    /// Pooled prompt embeddings, `[rows, pooled width]`.
    pub pooled: TensorId,
}

/// Records the modulation program for `rows` pairs of timestep and pooled prompt; the vectors are its outputs.
///
/// All of it is f32 on every device: it costs next to nothing, and a rounding here is one of every token.
///
/// Adapters of these layers (other tools' files may have them) are applied; sargent trains none here.
pub fn record_modulation(
    program: &mut Program,
    config: &MmditConfig,
    adapters: &Adapters,
    persistent: &Persistent,
    rows: usize,
) -> Result<(ModulationInputs, ModulationVectors)> {
    let before = std::mem::replace(&mut program.exact, true);
    let inputs = ModulationInputs {
        timesteps: program.input("timesteps", [rows]),
        pooled: program.input("pooled_prompt_embeds", [rows, config.pooled_width]),
    };
    let features = program.activation("time_features", [rows, TIME_FEATURES]);
    program.launch(TimestepFeatures { timesteps: inputs.timesteps, features })?;
    let layer = |program: &mut Program, name: &str, weight: &str, x, outputs| {
        let layer = adapters.layer(program, persistent, weight, 0..outputs, outputs, x)?;
        linear(program, name, x, &layer)
    };
    let d = config.width;
    let embed = |program: &mut Program, embedder: &str, x| {
        let first = layer(program, &format!("{embedder}.0"), &format!("{embedder}.mlp.0"), x, d)?;
        let active = activate(program, &format!("{embedder}.1"), Activation::Silu, first)?;
        layer(program, &format!("{embedder}.2"), &format!("{embedder}.mlp.2"), active, d)
    };
    let time = embed(program, "t_embedder", features)?;
    let text = embed(program, "y_embedder", inputs.pooled)?;
    let embedding = add(program, "temb", time, text)?;
    let active = activate(program, "temb.silu", Activation::Silu, embedding)?;
    let vectors = |program: &mut Program, name: &str, weight: &str, chunks: usize| {
        let out = layer(program, name, &format!("{weight}.adaLN_modulation.1"), active, chunks * d)?;
        program.output(out);
        Ok(out)
    };
    let mut image = Vec::new();
    let mut text = Vec::new();
    for block in 0..config.depth {
        let (x, c) = (block_name(block, "x_block"), block_name(block, "context_block"));
        image.push(vectors(program, &image_name(block), &x, config.image_chunks(block))?);
        text.push(vectors(program, &text_name(block), &c, config.text_chunks(block))?);
    }
    let last = vectors(program, "modulation.last", "final_layer", 2)?;
    program.exact = before;
    Ok((inputs, ModulationVectors { image, text, last }))
}
