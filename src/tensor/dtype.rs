//! Element types.

use std::fmt;

/// The element type of a tensor, in a file or on a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DType {
    /// 32-bit float.
    F32,
    /// 64-bit float (files only).
    F64,
    /// bfloat16.
    Bf16,
    /// IEEE half.
    F16,
    /// Bytes: signed numbers in files, codes on a device.
    I8,
    /// 32-bit integers: token ids and positions.
    I32,
    /// 64-bit integers (files only).
    I64,
}

impl DType {
    /// Bytes of one element.
    pub const fn size(self) -> usize {
        match self {
            Self::F64 | Self::I64 => 8,
            Self::F32 | Self::I32 => 4,
            Self::Bf16 | Self::F16 => 2,
            Self::I8 => 1,
        }
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F32 => "f32",
            Self::F64 => "f64",
            Self::Bf16 => "bf16",
            Self::F16 => "f16",
            Self::I8 => "i8",
            Self::I32 => "i32",
            Self::I64 => "i64",
        })
    }
}
