//! The VAE: pictures to latents and back.
//!
//! [`encoder`] and [`decoder`] record programs of convolutions, resnets and one attention ([`layers`]) for one size
//! of picture. Convolutions work in [`bands`] of rows; norms and attention see the whole picture, so bands change
//! nothing but memory. [`Vae`] keeps the planned programs of the sizes that it has met, and the weights.

pub mod bands;
pub mod config;

mod decoder;
mod encoder;
mod fused;
mod layers;

pub use config::{Level, VaeConfig};

use crate::autograd::run::Planned;
use crate::autograd::{Engine, Home, Program};
use crate::device::Limits;
use crate::error::{Error, Result};
use crate::models::weight_source::ModelWeights;
use crate::tensor::TensorId;
use crate::weights::{VaeConstants, WeightMap};
use layers::Recorder;
use std::collections::HashMap;

/// The distribution of a picture's latents, `[latent channels, height / 8, width / 8]`, neither shifted nor scaled.
#[derive(Debug, Clone, PartialEq)]
pub struct Latents {
    /// Mean.
    pub mean: Vec<f32>,
    /// Logarithm of the variance, in [-30, 20].
    pub logvar: Vec<f32>,
}

/// Which way a program goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// A picture to its latents.
    Encode,
    /// Latents to a picture.
    Decode,
}

/// A recorded encoder or decoder.
#[derive(Debug, Clone)]
pub struct Recording {
    /// What to run.
    pub program: Program,
    /// The picture, or the latents.
    pub input: TensorId,
    /// Mean and log-variance, or the picture.
    pub outputs: Vec<TensorId>,
}

impl Recording {
    fn new<const N: usize>(mut program: Program, input: TensorId, outputs: [TensorId; N]) -> Self {
        outputs.iter().for_each(|&id| program.output(id));
        Self { program, input, outputs: outputs.to_vec() }
    }
}

/// Memory that encoding or decoding takes, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Footprint {
    /// Weights, which stay.
    pub weights: usize,
    /// Activations and scratch memory.
    pub arena: usize,
}

/// A planned recording.
#[derive(Debug)]
struct Prepared {
    planned: Planned,
    input: TensorId,
    outputs: Vec<TensorId>,
}

/// A VAE ready to use. Pictures are `[3, height, width]` in [-1, 1].
#[derive(Debug)]
pub struct Vae {
    config: VaeConfig,
    weights: WeightMap,
    band_rows: usize,
    prepared: HashMap<(Direction, usize, usize), Prepared>,
}

impl Vae {
    /// The VAE of these files. No weight is read before the first picture.
    pub fn open(weights: &WeightMap, constants: &VaeConstants) -> Result<Self> {
        let config = VaeConfig::of(weights, constants)?;
        let weights = fused::with_fused_attention(weights)?;
        Ok(Self { config, weights, band_rows: 0, prepared: HashMap::new() })
    }

    /// The same VAE, convolving bands of so many output rows; 0 leaves the choice to [`bands::band_rows`].
    pub fn with_band_rows(self, band_rows: usize) -> Self {
        Self { band_rows, prepared: HashMap::new(), ..self }
    }

    /// Its sizes and constants.
    pub fn config(&self) -> &VaeConfig {
        &self.config
    }

    /// Its weights, those that were put together included: what a [`Recording`] asks for.
    pub fn weights(&self) -> &WeightMap {
        &self.weights
    }

    /// The distribution of a picture's latents. Fails if the size is no multiple of 8 or is not that of the pixels.
    ///
    /// The engine's arena and weights are shared with whatever else it runs.
    pub fn encode(
        &mut self,
        engine: &mut Engine,
        pixels: &[f32],
        (width, height): (usize, usize),
    ) -> Result<Latents> {
        let outputs = self.run(engine, Direction::Encode, pixels, (width, height))?;
        let mut outputs = outputs.into_iter();
        Ok(Latents { mean: outputs.next().unwrap_or_default(), logvar: outputs.next().unwrap_or_default() })
    }

    /// The picture of `latents` as the MMDiT has them: shifted and scaled. Its values may leave [-1, 1] a little.
    /// Width and height are those of the picture.
    pub fn decode(
        &mut self,
        engine: &mut Engine,
        latents: &[f32],
        (width, height): (usize, usize),
    ) -> Result<Vec<f32>> {
        let constants = self.config.constants;
        let unscaled: Vec<f32> = latents.iter().map(|&latent| unscale(latent, &constants)).collect();
        Ok(self.run(engine, Direction::Decode, &unscaled, (width, height))?.pop().unwrap_or_default())
    }

    /// The program for one picture of that size.
    pub fn record(&self, direction: Direction, width: usize, height: usize) -> Result<Recording> {
        let unit = self.config.downscale();
        if width == 0 || height == 0 || !width.is_multiple_of(unit) || !height.is_multiple_of(unit) {
            return Err(Error::shape("VAE", format!("a picture of {width}x{height} has no whole latents"))
                .hint(format!("width and height must be multiples of {unit}")));
        }
        let recorder = Recorder::new(&self.weights, self.config.constants.norm_num_groups, self.band_rows);
        match direction {
            Direction::Encode => encoder::record(recorder, &self.config, width, height),
            Direction::Decode => decoder::record(recorder, &self.config, width, height),
        }
    }

    /// What encoding a picture of that size takes on a device; reads no weight.
    pub fn plan_encode(&self, width: usize, height: usize, limits: &Limits) -> Result<Footprint> {
        footprint(self.record(Direction::Encode, width, height)?.program, limits)
    }

    /// What decoding a picture of that size takes on a device; reads no weight.
    pub fn plan_decode(&self, width: usize, height: usize, limits: &Limits) -> Result<Footprint> {
        footprint(self.record(Direction::Decode, width, height)?.program, limits)
    }

    /// Runs the program for that size, made at the first picture of it.
    fn run(
        &mut self,
        engine: &mut Engine,
        direction: Direction,
        values: &[f32],
        (width, height): (usize, usize),
    ) -> Result<Vec<Vec<f32>>> {
        let key = (direction, width, height);
        if !self.prepared.contains_key(&key) {
            let Recording { program, input, outputs } = self.record(direction, width, height)?;
            let planned = engine.plan(program)?;
            self.prepared.insert(key, Prepared { planned, input, outputs });
        }
        let Prepared { planned, input, outputs } = &self.prepared[&key];
        engine.load_weights(&planned.program, &ModelWeights(&self.weights))?;
        engine.reserve(planned)?;
        engine.write(planned, *input, values)?;
        engine.run(planned)?;
        outputs.iter().map(|&id| engine.read(planned, id)).collect()
    }
}

/// A latent as the MMDiT has it: (z - shift) * scaling.
pub fn scale(z: f32, constants: &VaeConstants) -> f32 {
    (z - constants.shift_factor) * constants.scaling_factor
}

/// The inverse of [`scale`].
pub fn unscale(latent: f32, constants: &VaeConstants) -> f32 {
    latent / constants.scaling_factor + constants.shift_factor
}

fn footprint(program: Program, limits: &Limits) -> Result<Footprint> {
    let Planned { program, plan, .. } = Planned::new(program, limits)?;
    let resident = program.tensors.iter().filter(|tensor| matches!(tensor.home, Home::Weight(_)));
    let weights = resident.map(|tensor| tensor.shape.elements() * tensor.dtype.size()).sum();
    Ok(Footprint { weights, arena: plan.bytes })
}

#[cfg(test)]
mod tests;
