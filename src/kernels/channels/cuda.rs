//! Planes to pixels and back on a card.

use crate::device::cuda::{Address, Launches, Operands, vectorised};
use crate::error::Result;
use crate::kernels::channels::{ChannelsFirst, ChannelsLast};
use crate::kernels::parameters::{
    CHANNELS_A_THREAD, CHANNELS_THREADS, ChannelsFirstParams, ChannelsLastParams,
};
use crate::kernels::spread::{grid, word};
use crate::tensor::DType;

/// Bytes of a channel of bf16: where eight such channels are aligned, so are eight of f32.
const BF16: usize = 2;

/// Blocks for pictures of `area` pixels and `channels` channels.
fn blocks(kernel: &str, [pictures, area, channels]: [usize; 3]) -> Result<[u32; 3]> {
    let pixels = area.div_ceil(CHANNELS_THREADS as usize);
    grid(kernel, [pixels, channels.div_ceil(CHANNELS_A_THREAD as usize), pictures])
}

impl ChannelsLast {
    pub(super) fn launch_on_card(
        &self,
        kernel: &str,
        operands: &Operands<'_>,
        to: &mut Launches,
    ) -> Result<()> {
        let &[pictures, channels, height, width] = operands.shape(self.planes).dims() else { return Ok(()) };
        let (symbol, dtype) = match operands.dtype(self.pixels) {
            DType::F32 => ("channels_last_f32", DType::F32),
            _ => ("channels_last", DType::Bf16),
        };
        let planes = operands.f32(kernel, self.planes)?;
        let pixels = operands.address(kernel, self.pixels, dtype)?;
        let parameters = ChannelsLastParams {
            planes,
            pixels,
            area: (height * width) as u64,
            channels: word(kernel, channels)?,
            aligned: vectorised(pixels, channels, BF16).into(),
        };
        let blocks = blocks(kernel, [pictures, height * width, channels])?;
        to.push(symbol, blocks, CHANNELS_THREADS, &parameters);
        Ok(())
    }
}

impl ChannelsFirst {
    pub(super) fn launch_on_card(
        &self,
        kernel: &str,
        operands: &Operands<'_>,
        to: &mut Launches,
    ) -> Result<()> {
        let &[pictures, taken, height, width] = operands.shape(self.planes).dims() else { return Ok(()) };
        let channels = operands.shape(self.pixels).columns();
        let (symbol, dtype, bytes) = match operands.dtype(self.pixels) {
            DType::F32 => ("channels_first_f32", DType::F32, size_of::<f32>()),
            _ => ("channels_first", DType::Bf16, BF16),
        };
        let pixels = operands.address(kernel, self.pixels, dtype)?;
        let planes = operands.f32(kernel, self.planes)?;
        let (least, greatest) = self.clamp.unwrap_or((f32::NEG_INFINITY, f32::INFINITY));
        let first_taken = pixels + (self.first * bytes) as Address;
        let parameters = ChannelsFirstParams {
            pixels,
            planes,
            area: (height * width) as u64,
            channels: word(kernel, channels)?,
            first: word(kernel, self.first)?,
            taken: word(kernel, taken)?,
            aligned: vectorised(first_taken, channels, BF16).into(),
            least,
            greatest,
        };
        let blocks = blocks(kernel, [pictures, height * width, taken])?;
        to.push(symbol, blocks, CHANNELS_THREADS, &parameters);
        Ok(())
    }
}
