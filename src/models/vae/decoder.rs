//! The decoder: latents to a picture.

use super::Recording;
use super::config::{IMAGE_CHANNELS, VaeConfig};
use super::layers::{Conv, ENLARGE, Recorder, SAME};
use crate::error::Result;
use crate::ops::convolution::{channels_first, channels_last};

/// Records the decoder: input `latents` `[1, latent channels, height / 8, width / 8]`, neither scaled nor
/// shifted; output `decoded` `[1, 3, height, width]`, about in [-1, 1].
///
/// The tensors `decoder.conv_in`, `decoder.mid_block` and `decoder.up_blocks.{i}` `[1, h, w, c]` are called as in
/// diffusers, which counts its blocks from the smallest; the weights are counted from the largest.
pub fn record(
    mut recorder: Recorder<'_>,
    config: &VaeConfig,
    width: usize,
    height: usize,
) -> Result<Recording> {
    let (rows, columns) = (height / config.downscale(), width / config.downscale());
    let latents = recorder.program.input("latents", [1, config.latent_channels, rows, columns]);
    let x = channels_last(&mut recorder.program, "latent pixels", latents)?;
    let deepest = config.decoder[config.decoder.len() - 1].channels;
    let x = recorder.conv(x, Conv::new("decoder.conv_in", SAME, deepest))?;
    let mut x = recorder.middle("decoder", x)?;
    for (block, (index, level)) in config.decoder.iter().enumerate().rev().enumerate() {
        let block = format!("decoder.up_blocks.{block}");
        for resnet in 0..level.resnets {
            let weights = format!("decoder.up.{index}.block.{resnet}");
            let name = if index == 0 && resnet + 1 == level.resnets { &block } else { &weights };
            x = recorder.resnet(name, &weights, x, level.channels)?;
        }
        if index > 0 {
            let weights = format!("decoder.up.{index}.upsample.conv");
            x = recorder.conv(x, Conv { name: &block, ..Conv::new(&weights, ENLARGE, level.channels) })?;
        }
    }
    let out = Conv { norm: Some("decoder.norm_out"), ..Conv::new("decoder.conv_out", SAME, IMAGE_CHANNELS) };
    let pixels = recorder.conv(x, out)?;
    let image = channels_first(&mut recorder.program, "decoded", pixels, 0..IMAGE_CHANNELS, None)?;
    Ok(Recording::new(recorder.program, latents, [image]))
}
