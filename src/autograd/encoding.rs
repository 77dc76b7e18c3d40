//! How a flat buffer's values are kept: what a device stores for the f32 values that the host sees.

use crate::kernels::adamw::block8::{BLOCK, Map};
use crate::tensor::DType;
use half::bf16;
use std::ops::Range;

/// The form in which values are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// As they are.
    F32,
    /// Rounded to bf16.
    Bf16,
    /// In 8 bits: the codes of whole blocks, then the blocks' scales.
    Block8(Map),
}

impl Encoding {
    /// The element type of a tensor kept so.
    pub fn dtype(self) -> DType {
        match self {
            Self::F32 => DType::F32,
            Self::Bf16 => DType::Bf16,
            Self::Block8(_) => DType::I8,
        }
    }

    /// Bytes of `elements` values.
    pub fn bytes(self, elements: usize) -> usize {
        match self {
            Self::F32 | Self::Bf16 => elements * self.dtype().size(),
            Self::Block8(_) => elements.div_ceil(BLOCK) * (BLOCK + size_of::<f32>()),
        }
    }

    /// Values of a buffer begin only at multiples of this when they are kept apart from what lies before them.
    pub fn alignment(self) -> usize {
        match self {
            Self::F32 | Self::Bf16 => 1,
            Self::Block8(_) => BLOCK,
        }
    }

    /// Where in a buffer of `total` values some of them, from a multiple of the alignment on, are kept: the byte ranges
    /// that together hold what [`Encoding::encode`] makes of them. The second is empty where there are no scales.
    pub fn pieces(self, values: Range<usize>, total: usize) -> [Range<usize>; 2] {
        match self {
            Self::F32 | Self::Bf16 => [self.bytes(values.start)..self.bytes(values.end), 0..0],
            Self::Block8(_) => {
                let blocks = values.start / BLOCK..values.end.div_ceil(BLOCK);
                let scale = |block: usize| total.div_ceil(BLOCK) * BLOCK + block * size_of::<f32>();
                [blocks.start * BLOCK..blocks.end * BLOCK, scale(blocks.start)..scale(blocks.end)]
            }
        }
    }

    /// The kept form of `values`, from the beginning of a block on; a last block that they do not fill is filled
    /// with zeros.
    pub fn encode(self, values: &[f32], out: &mut [u8]) {
        match self {
            Self::F32 => out.copy_from_slice(bytemuck::cast_slice(values)),
            Self::Bf16 => {
                for (out, value) in out.chunks_exact_mut(2).zip(values) {
                    out.copy_from_slice(&bf16::from_f32(*value).to_le_bytes());
                }
            }
            Self::Block8(map) => {
                let (codes, scales) = out.split_at_mut(values.len().div_ceil(BLOCK) * BLOCK);
                let blocks = codes.chunks_exact_mut(BLOCK).zip(scales.chunks_exact_mut(size_of::<f32>()));
                for ((codes, scale), values) in blocks.zip(values.chunks(BLOCK)) {
                    let mut block = [0.0; BLOCK];
                    block[..values.len()].copy_from_slice(values);
                    scale.copy_from_slice(&map.encode(&block, codes).to_le_bytes());
                }
            }
        }
    }

    /// The values of a kept form.
    pub fn decode(self, kept: &[u8], out: &mut [f32]) {
        match self {
            Self::F32 => bytemuck::cast_slice_mut(out).copy_from_slice(kept),
            Self::Bf16 => {
                for (out, kept) in out.iter_mut().zip(kept.chunks_exact(2)) {
                    *out = bf16::from_le_bytes([kept[0], kept[1]]).to_f32();
                }
            }
            Self::Block8(map) => {
                let (codes, scales) = kept.split_at(out.len().div_ceil(BLOCK) * BLOCK);
                let blocks = codes.chunks_exact(BLOCK).zip(scales.chunks_exact(size_of::<f32>()));
                for ((codes, scale), values) in blocks.zip(out.chunks_mut(BLOCK)) {
                    let scale = f32::from_le_bytes([scale[0], scale[1], scale[2], scale[3]]);
                    map.decode(codes, scale, values);
                }
            }
        }
    }
}

impl From<DType> for Encoding {
    /// How a tensor of floating-point elements is kept.
    fn from(dtype: DType) -> Self {
        if dtype == DType::Bf16 { Self::Bf16 } else { Self::F32 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes `values` at `first` into a buffer of `total`, as the engine does.
    fn write(encoding: Encoding, buffer: &mut [u8], first: usize, values: &[f32], total: usize) {
        let mut kept = vec![0; encoding.bytes(values.len())];
        encoding.encode(values, &mut kept);
        let mut rest = &kept[..];
        for piece in encoding.pieces(first..first + values.len(), total) {
            let (part, after) = rest.split_at(piece.len());
            buffer[piece].copy_from_slice(part);
            rest = after;
        }
        assert!(rest.is_empty());
    }

    #[test]
    fn parts_written_apart_are_the_whole() {
        let values: Vec<f32> = (0..700).map(|i| (i % 97) as f32 * 0.25).collect();
        for encoding in [Encoding::F32, Encoding::Bf16, Encoding::Block8(Map::Unsigned)] {
            let total = values.len();
            let (mut whole, mut parts) = (vec![0; encoding.bytes(total)], vec![0; encoding.bytes(total)]);
            encoding.encode(&values, &mut whole);
            for first in [512, 0, 256] {
                let part = &values[first..total.min(first + 256)];
                write(encoding, &mut parts, first, part, total);
            }
            assert_eq!(whole, parts, "{encoding:?}");
            let mut decoded = vec![0.0; total];
            encoding.decode(&whole, &mut decoded);
            let mut again = vec![0; encoding.bytes(total)];
            encoding.encode(&decoded, &mut again);
            assert_eq!(whole, again, "{encoding:?}");
        }
    }
}
