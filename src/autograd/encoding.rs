//! How a flat buffer's values are kept: what a device stores for the f32 values that the host sees.

use crate::tensor::DType;
use half::bf16;

/// The form in which values are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// As they are.
    F32,
    /// Rounded to bf16.
    Bf16,
}

impl Encoding {
    /// The element type of a tensor kept so.
    pub fn dtype(self) -> DType {
        match self {
            Self::F32 => DType::F32,
            Self::Bf16 => DType::Bf16,
        }
    }

    /// Bytes of `elements` values.
    pub fn bytes(self, elements: usize) -> usize {
        elements * self.dtype().size()
    }

    /// The kept form of `values`.
    pub fn encode(self, values: &[f32], out: &mut [u8]) {
        match self {
            Self::F32 => out.copy_from_slice(bytemuck::cast_slice(values)),
            Self::Bf16 => {
                for (out, value) in out.chunks_exact_mut(2).zip(values) {
                    out.copy_from_slice(&bf16::from_f32(*value).to_le_bytes());
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
        }
    }
}

impl From<DType> for Encoding {
    /// How a tensor of floating-point elements is kept.
    fn from(dtype: DType) -> Self {
        if dtype == DType::Bf16 { Self::Bf16 } else { Self::F32 }
    }
}
