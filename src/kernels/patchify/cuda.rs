//! Latents to patches and back on a card.

use crate::device::cuda::{Launches, Operands};
use crate::error::Result;
use crate::kernels::parameters::{PATCHIFY_THREADS, PatchifyParams};
use crate::kernels::patchify::{Order, PATCH, Patchify, Unpatchify};
use crate::kernels::spread::{grid, word};
use crate::tensor::{DType, TensorId};

/// The launch of `symbol` between latents and patches of type `dtype`.
fn launch(
    (kernel, symbol, dtype): (&str, &'static str, DType),
    order: Order,
    (latents, patches): (TensorId, TensorId),
    operands: &Operands<'_>,
    to: &mut Launches,
) -> Result<()> {
    let &[samples, channels, height, width] = operands.shape(latents).dims() else { return Ok(()) };
    let tokens = height / PATCH * (width / PATCH);
    let plane_blocks = tokens.div_ceil(PATCHIFY_THREADS as usize);
    let channels_word = word(kernel, channels)?;
    let (channel_stride, pixel_stride) = match order {
        Order::ChannelFirst => ((PATCH * PATCH) as u32, 1),
        Order::ChannelLast => (1, channels_word),
    };
    let parameters = PatchifyParams {
        latents: operands.f32(kernel, latents)?,
        patches: operands.address(kernel, patches, dtype)?,
        channels: channels_word,
        columns: word(kernel, width / PATCH)?,
        tokens: word(kernel, tokens)?,
        channel_stride,
        pixel_stride,
        plane_blocks: word(kernel, plane_blocks)?,
    };
    let grid = grid(kernel, [samples * channels * plane_blocks, 1, 1])?;
    to.push(symbol, grid, PATCHIFY_THREADS, &parameters);
    Ok(())
}

impl Patchify {
    pub(super) fn launch_on_card(
        &self,
        kernel: &str,
        operands: &Operands<'_>,
        to: &mut Launches,
    ) -> Result<()> {
        let (symbol, dtype) = match operands.dtype(self.patches) {
            DType::F32 => ("patchify_f32", DType::F32),
            _ => ("patchify_bf16", DType::Bf16),
        };
        launch((kernel, symbol, dtype), self.order, (self.latents, self.patches), operands, to)
    }
}

impl Unpatchify {
    pub(super) fn launch_on_card(
        &self,
        kernel: &str,
        operands: &Operands<'_>,
        to: &mut Launches,
    ) -> Result<()> {
        launch((kernel, "unpatchify", DType::Bf16), self.order, (self.latents, self.patches), operands, to)
    }
}
