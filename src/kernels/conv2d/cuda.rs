//! Convolution on a card: a product of windows with kernels, whose tile depends on the output channels.

use crate::device::cuda::{Launches, Operands, vectorised};
use crate::error::{Error, Result};
use crate::kernels::conv2d::Conv2d;
use crate::kernels::parameters::{
    CONV2D_VECTOR_WEIGHT, CONV2D_VECTOR_X, CONV2D_VECTOR_Y, Conv2dParams, NormParams,
};
use crate::kernels::spread::{grid, word};
use crate::tensor::DType;

/// Bytes of an element of bf16: where eight of them are aligned, so are eight of f32.
const BF16: usize = 2;
/// Channels of a slice of the sum.
const SLICE: usize = 32;

/// A kernel's tile of output pixels and output channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Tile {
    symbol: &'static str,
    pixels: usize,
    channels: usize,
    threads: u32,
    stages: usize,
}

const fn tile(symbol: &'static str, [pixels, channels]: [usize; 2], threads: u32, stages: usize) -> Tile {
    Tile { symbol, pixels, channels, threads, stages }
}

/// The tiles, widest first.
const PLAIN: [Tile; 3] = [
    tile("conv2d_128x256", [128, 256], 256, 3),
    tile("conv2d_128x128", [128, 128], 128, 4),
    tile("conv2d_64x64", [64, 64], 128, 4),
];

/// The tiles of the kernels with a norm in front.
const NORMED: [Tile; 3] = [
    tile("conv2d_norm_128x256", [128, 256], 256, 3),
    tile("conv2d_norm_128x128", [128, 128], 256, 4),
    tile("conv2d_norm_64x64", [64, 64], 128, 4),
];

/// The tile of the kernel of f32 pixels, with a norm in front or without.
const EXACT: Tile = tile("conv2d_exact_128x128", [128, 128], 256, 4);

impl Tile {
    /// The widest tile that the output channels fill, and of which there are enough to give every multiprocessor one.
    fn choose(tiles: &[Tile; 3], pixels: usize, channels: usize, multiprocessors: u32) -> Tile {
        let [widest, middle, narrow] = *tiles;
        let blocks = |tile: Tile| pixels.div_ceil(tile.pixels) * channels.div_ceil(tile.channels);
        let fits = |tile: Tile| channels * 2 > tile.channels && blocks(tile) >= multiprocessors as usize;
        [widest, middle].into_iter().find(|&tile| fits(tile)).unwrap_or(narrow)
    }

    /// Bytes of shared memory: the ring, then the norm of `channels` channels.
    fn shared_bytes(&self, channels: usize) -> usize {
        let ring = self.stages * (self.pixels + self.channels) * SLICE * BF16;
        ring + channels.next_multiple_of(SLICE) * 2 * size_of::<f32>()
    }
}

impl Conv2d {
    pub(super) fn launch_on_card(
        &self,
        kernel: &str,
        operands: &Operands<'_>,
        to: &mut Launches,
    ) -> Result<()> {
        let extents = self.geometry.extents(operands.shape(self.x), operands.shape(self.weight))?;
        let (channels, outputs) = (extents.channels, extents.outputs);
        let area = extents.out_height * extents.out_width;
        let multiprocessors = operands.architecture().multiprocessors;
        let tiles = if self.norm.is_some() { &NORMED } else { &PLAIN };
        let dtype = operands.dtype(self.x);
        let tile = match dtype {
            DType::F32 => EXACT,
            _ => Tile::choose(tiles, extents.pictures * area, outputs, multiprocessors),
        };
        let normed_channels = if self.norm.is_some() { channels } else { 0 };
        let shared = tile.shared_bytes(normed_channels);
        if shared > operands.architecture().shared_memory as usize {
            let cause = format!("the norm of {channels} channels does not fit into shared memory");
            return Err(Error::shape(kernel, cause));
        }
        let (x, y) = (operands.address(kernel, self.x, dtype)?, operands.address(kernel, self.y.to, dtype)?);
        let (weight, bias) = (operands.bf16(kernel, self.weight)?, operands.bf16(kernel, self.bias)?);
        let aligned = |address, columns: usize| vectorised(address, columns, BF16);
        let mut vectors = 0;
        for (is_aligned, flag) in [
            (aligned(x, channels), CONV2D_VECTOR_X),
            (aligned(weight, channels), CONV2D_VECTOR_WEIGHT),
            (aligned(y, outputs) && aligned(bias, outputs), CONV2D_VECTOR_Y),
        ] {
            vectors |= if is_aligned { flag } else { 0 };
        }
        let no_norm = NormParams { statistics: 0, weight: 0, bias: 0, groups: 0, silu: 0 };
        let tiles_n = outputs.div_ceil(tile.channels);
        let parameters = Conv2dParams {
            x,
            weight,
            bias,
            y,
            norm: self.norm.as_ref().map_or(Ok(no_norm), |norm| norm.on_card(kernel, operands))?,
            height: word(kernel, extents.height)?,
            width: word(kernel, extents.width)?,
            channels: word(kernel, channels)?,
            outputs: word(kernel, outputs)?,
            out_width: word(kernel, extents.out_width)?,
            out_area: word(kernel, area)?,
            kernel_rows: word(kernel, extents.kernel_rows)?,
            kernel_columns: word(kernel, extents.kernel_columns)?,
            stride: word(kernel, self.geometry.stride)?,
            top: word(kernel, self.geometry.padding.top)?,
            left: word(kernel, self.geometry.padding.left)?,
            enlargement: self.geometry.enlarged.into(),
            tiles_n: word(kernel, tiles_n)?,
            accumulate: self.y.accumulates().into(),
            vectors,
            reserved: 0,
        };
        let blocks = grid(kernel, [area.div_ceil(tile.pixels) * tiles_n, extents.pictures, 1])?;
        to.push_shared(tile.symbol, blocks, tile.threads, shared as u32, &parameters);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_convolution_gets_the_widest_tile_that_it_fills() {
        let symbol = |pixels, channels| Tile::choose(&PLAIN, pixels, channels, 108).symbol;
        assert_eq!(symbol(1 << 20, 512), "conv2d_128x256");
        assert_eq!(symbol(1 << 20, 129), "conv2d_128x256");
        assert_eq!(symbol(1 << 20, 128), "conv2d_128x128");
        assert_eq!(symbol(1 << 20, 64), "conv2d_64x64");
        assert_eq!(symbol(1 << 20, 3), "conv2d_64x64");
        assert_eq!(symbol(64, 512), "conv2d_64x64", "there are few pixels");
    }

    #[test]
    fn shared_memory_fits_the_smallest_cards_up_to_a_few_thousand_channels() {
        for tile in PLAIN.into_iter().chain(NORMED).chain([EXACT]) {
            assert!(tile.shared_bytes(0) <= 99 << 10 && tile.shared_bytes(2048) <= 99 << 10, "{tile:?}");
        }
    }
}
