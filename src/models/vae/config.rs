//! The sizes of a VAE, read off its tensors.

use crate::error::{Error, Result};
use crate::weights::{VaeConstants, WeightMap};

/// Channels of a picture.
pub const IMAGE_CHANNELS: usize = 3;

/// The resnets that work at one resolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Level {
    /// Channels they give.
    pub channels: usize,
    /// How many there are.
    pub resnets: usize,
}

/// What a VAE is made of. Each level has half the height and width of the one before.
#[derive(Debug, Clone, PartialEq)]
pub struct VaeConfig {
    /// The encoder's levels, the picture's resolution first.
    pub encoder: Vec<Level>,
    /// The decoder's levels, the picture's resolution first.
    pub decoder: Vec<Level>,
    /// Channels of the latents.
    pub latent_channels: usize,
    /// Latents' scale and shift, groups of every GroupNorm.
    pub constants: VaeConstants,
}

impl VaeConfig {
    /// From the shapes of the tensors; the error names the tensor that is missing or does not fit.
    pub fn of(weights: &WeightMap, constants: &VaeConstants) -> Result<Self> {
        let (encoder, decoder) = (levels(weights, "encoder.down")?, levels(weights, "decoder.up")?);
        if encoder.len() != decoder.len() {
            let cause = format!("the encoder has {} levels, the decoder {}", encoder.len(), decoder.len());
            return Err(Error::weights(weights.path(), cause).hint("the VAE's file is incomplete"));
        }
        let latent_channels = weights.get("decoder.conv_in.weight")?.shape.columns();
        Ok(Self { encoder, decoder, latent_channels, constants: *constants })
    }

    /// Pixels a side that one latent stands for.
    pub fn downscale(&self) -> usize {
        1 << (self.encoder.len() - 1)
    }

    /// Elements of the latents of a picture.
    pub fn latent_elements(&self, width: usize, height: usize) -> usize {
        self.latent_channels * (width / self.downscale()) * (height / self.downscale())
    }
}

/// The levels under `prefix`; there is at least one.
fn levels(weights: &WeightMap, prefix: &str) -> Result<Vec<Level>> {
    let first_of = |level: usize, resnet: usize| format!("{prefix}.{level}.block.{resnet}.conv1.weight");
    let mut levels = Vec::new();
    while levels.is_empty() || weights.contains(&first_of(levels.len(), 0)) {
        let level = levels.len();
        let channels = weights.get(&first_of(level, 0))?.row_count();
        let resnets = (0..).take_while(|&resnet| weights.contains(&first_of(level, resnet))).count();
        levels.push(Level { channels, resnets });
    }
    Ok(levels)
}
