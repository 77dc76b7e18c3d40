//! Numbers in the element type of a file, each rounded once.

use crate::tensor::DType;
use half::{bf16, f16};

/// Element type of the written file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SaveDtype {
    /// bfloat16, rounded to nearest, ties to even.
    Bf16,
    /// IEEE half, rounded likewise.
    F16,
    /// 32-bit float.
    F32,
}

impl SaveDtype {
    /// As it is in files.
    pub const fn dtype(self) -> DType {
        match self {
            Self::Bf16 => DType::Bf16,
            Self::F16 => DType::F16,
            Self::F32 => DType::F32,
        }
    }
}

/// Little-endian values, rounded once; `None` if one of them is not finite.
pub(in crate::export) fn encode(values: impl Iterator<Item = f64>, dtype: SaveDtype) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(values.size_hint().0 * dtype.dtype().size());
    for value in values {
        match dtype {
            SaveDtype::F32 => {
                let rounded = value as f32;
                bytes.extend(rounded.is_finite().then(|| rounded.to_le_bytes())?);
            }
            SaveDtype::Bf16 => {
                let rounded = bf16::from_f32(round_to_odd(value));
                bytes.extend(rounded.is_finite().then(|| rounded.to_le_bytes())?);
            }
            SaveDtype::F16 => {
                let rounded = f16::from_f32(round_to_odd(value));
                bytes.extend(rounded.is_finite().then(|| rounded.to_le_bytes())?);
            }
        }
    }
    Some(bytes)
}

/// The f32 beside `value` whose last bit is 1, or `value` itself if it fits: rounding that further gives what
/// rounding `value` once would have given, since no tie is made up on the way.
fn round_to_odd(value: f64) -> f32 {
    let nearest = value as f32;
    let bits = nearest.to_bits();
    if f64::from(nearest) == value || !nearest.is_finite() || bits & 1 == 1 {
        nearest
    } else if f64::from(nearest).abs() < value.abs() {
        f32::from_bits(bits + 1)
    } else {
        f32::from_bits(bits - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bf16_is_rounded_once_to_nearest_even() {
        let round = |value: f64| bf16::from_f32(round_to_odd(value)).to_f64();
        let ulp = 1.0 / 128.0;
        assert_eq!(round(1.0 + ulp / 2.0), 1.0);
        assert_eq!(round(1.0 + 1.5 * ulp), 1.0 + 2.0 * ulp);
        // Just above a tie, by less than f32 can tell: rounding by way of f32 would fall to the even side.
        assert_eq!(round(1.0 + ulp / 2.0 + 1e-12), 1.0 + ulp);
        assert_eq!(round(-(1.0 + ulp / 2.0 + 1e-12)), -(1.0 + ulp));
        assert_eq!(round(1.0 + 1.5 * ulp - 1e-12), 1.0 + ulp);
        assert_eq!(round(1e-300), 0.0);
    }

    #[test]
    fn values_that_do_not_fit_the_type_are_told() {
        for (value, fits) in [(7e4, [true, false, true]), (1e39, [false; 3]), (f64::NAN, [false; 3])] {
            let types = [SaveDtype::Bf16, SaveDtype::F16, SaveDtype::F32];
            assert_eq!(types.map(|dtype| encode([value].into_iter(), dtype).is_some()), fits, "{value}");
        }
    }
}
