//! The encoder: a picture to mean and log-variance of its latents.

use super::Recording;
use super::config::{IMAGE_CHANNELS, VaeConfig};
use super::layers::{Conv, HALVE, Recorder, SAME};
use crate::error::Result;
use crate::ops::convolution::{channels_first, channels_last};

/// What the log-variance is clamped to.
const LOG_VARIANCE: (f32, f32) = (-30.0, 20.0);

/// Records the encoder: input `image` `[1, 3, height, width]` in [-1, 1]; outputs `mean` and `logvar`, each
/// `[1, latent channels, height / 8, width / 8]`.
///
/// The tensors `encoder.conv_in`, `encoder.down_blocks.{i}` and `encoder.mid_block` `[1, h, w, c]` are called as in
/// diffusers.
pub fn record(
    mut recorder: Recorder<'_>,
    config: &VaeConfig,
    width: usize,
    height: usize,
) -> Result<Recording> {
    let image = recorder.program.input("image", [1, IMAGE_CHANNELS, height, width]);
    let x = channels_last(&mut recorder.program, "image pixels", image)?;
    let mut x = recorder.conv(x, Conv::new("encoder.conv_in", SAME, config.encoder[0].channels))?;
    for (index, level) in config.encoder.iter().enumerate() {
        let is_last = index + 1 == config.encoder.len();
        let block = format!("encoder.down_blocks.{index}");
        for resnet in 0..level.resnets {
            let weights = format!("encoder.down.{index}.block.{resnet}");
            let name = if is_last && resnet + 1 == level.resnets { &block } else { &weights };
            x = recorder.resnet(name, &weights, x, level.channels)?;
        }
        if !is_last {
            let weights = format!("encoder.down.{index}.downsample.conv");
            x = recorder.conv(x, Conv { name: &block, ..Conv::new(&weights, HALVE, level.channels) })?;
        }
    }
    let x = recorder.middle("encoder", x)?;
    let latents = config.latent_channels;
    let out = Conv { norm: Some("encoder.norm_out"), ..Conv::new("encoder.conv_out", SAME, 2 * latents) };
    let moments = recorder.conv(x, out)?;
    let program = &mut recorder.program;
    let mean = channels_first(program, "mean", moments, 0..latents, None)?;
    let logvar = channels_first(program, "logvar", moments, latents..2 * latents, Some(LOG_VARIANCE))?;
    Ok(Recording::new(recorder.program, image, [mean, logvar]))
}
