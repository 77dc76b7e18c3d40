//! From stored bytes, at any alignment, to numbers.

use crate::tensor::DType;

/// Elements handled at a time, so that a check reads them from the nearest cache.
const CHUNK: usize = 4096;

/// Converts little-endian `bytes` of `dtype` into `out`, which has as many elements.
pub(super) fn to_f32(dtype: DType, bytes: &[u8], out: &mut [f32]) {
    match dtype {
        DType::Bf16 => each(bytes, out, |b| f32::from_bits(u32::from(u16::from_le_bytes(b)) << 16)),
        DType::F16 => each(bytes, out, |b| half::f16::from_le_bytes(b).to_f32()),
        DType::F32 => each(bytes, out, f32::from_le_bytes),
        DType::F64 => each(bytes, out, |b| f64::from_le_bytes(b) as f32),
        DType::I8 => each(bytes, out, |[b]| f32::from(b as i8)),
        DType::I32 => each(bytes, out, |b| i32::from_le_bytes(b) as f32),
        DType::I64 => each(bytes, out, |b| i64::from_le_bytes(b) as f32),
    }
}

/// [`to_f32`], saying whether every value is finite.
pub(super) fn to_finite_f32(dtype: DType, bytes: &[u8], out: &mut [f32]) -> bool {
    let mut finite = true;
    for (out, bytes) in out.chunks_mut(CHUNK).zip(bytes.chunks(CHUNK * dtype.size())) {
        to_f32(dtype, bytes, out);
        finite &= all_finite(out);
    }
    finite
}

/// Whether every value is finite.
pub(super) fn is_finite(dtype: DType, bytes: &[u8]) -> bool {
    let mut values = [0.0; CHUNK];
    let mut chunks = bytes.chunks(CHUNK * dtype.size());
    chunks.all(|chunk| to_finite_f32(dtype, chunk, &mut values[..chunk.len() / dtype.size()]))
}

/// Widens integers; nothing for other dtypes.
pub(super) fn to_i64(dtype: DType, bytes: &[u8]) -> Option<Vec<i64>> {
    let mut out = vec![0; bytes.len() / dtype.size()];
    match dtype {
        DType::I8 => each(bytes, &mut out, |[b]| i64::from(b as i8)),
        DType::I32 => each(bytes, &mut out, |b| i64::from(i32::from_le_bytes(b))),
        DType::I64 => each(bytes, &mut out, i64::from_le_bytes),
        _ => return None,
    }
    Some(out)
}

fn each<const SIZE: usize, T>(bytes: &[u8], out: &mut [T], convert: impl Fn([u8; SIZE]) -> T) {
    let (elements, _) = bytes.as_chunks::<SIZE>();
    for (out, element) in out.iter_mut().zip(elements) {
        *out = convert(*element);
    }
}

/// Without an early exit, so that it runs at the speed of memory.
fn all_finite(values: &[f32]) -> bool {
    const EXPONENT: u32 = 0x7f80_0000;
    values.iter().fold(0, |largest: u32, v| largest.max(v.to_bits() & EXPONENT)) < EXPONENT
}
