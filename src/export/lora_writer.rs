//! Writes the one LoRA form that loads at full strength in diffusers, ComfyUI and stable-diffusion.cpp: split keys
//! under `transformer.`, alpha folded into B, no alpha tensors. The bytes depend on the weights and settings alone.

use crate::error::{Error, ErrorKind, Result};
use crate::models::adapter::LoraModule;
use crate::tensor::DType;
use crate::weights::{TensorBytes, write_tensors};
use half::bf16;
use serde_json::Value;
use std::path::Path;

/// Element type of the written file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SaveDtype {
    /// bfloat16, rounded to nearest, ties to even.
    Bf16,
    /// 32-bit float.
    F32,
}

/// Writes `modules` to `path`, whole or not at all.
///
/// `settings` holds what changed the weights; it becomes one JSON string in the header under `sargent`.
///
/// # Errors
/// A weight that is not finite, or too large for `dtype`; sizes that contradict the rank; what the disk says.
pub fn write_lora(path: &Path, modules: &[LoraModule], dtype: SaveDtype, settings: &Value) -> Result<()> {
    let metadata = [("format", "pt".to_owned()), ("sargent", settings.to_string())];
    let metadata = metadata.map(|(key, value)| (key.to_owned(), value)).into();
    write_tensors(path, &tensors(modules, dtype)?, &metadata)
}

/// The two factors of every module, alpha folded into B.
fn tensors(modules: &[LoraModule], dtype: SaveDtype) -> Result<Vec<TensorBytes<'static>>> {
    let mut tensors = Vec::with_capacity(2 * modules.len());
    for module in modules {
        check_sizes(module)?;
        let a = module.a.iter().map(|&value| f64::from(value)).collect();
        let b = module.b.iter().map(|&value| f64::from(value) * module.scale).collect();
        tensors.push(tensor(module, "lora_A", [module.rank, module.in_features()], a, dtype)?);
        tensors.push(tensor(module, "lora_B", [module.out_features(), module.rank], b, dtype)?);
    }
    Ok(tensors)
}

fn tensor(
    module: &LoraModule,
    factor: &str,
    shape: [usize; 2],
    values: Vec<f64>,
    dtype: SaveDtype,
) -> Result<TensorBytes<'static>> {
    let name = format!("transformer.{}.{factor}.weight", module.module);
    let Some(bytes) = encode(&values, dtype) else {
        let place = format!("tensor `{name}`");
        return Err(Error::new(ErrorKind::Training, place, "it holds values that are not finite")
            .hint("nothing was written; lower the learning rate or start from an earlier checkpoint"));
    };
    let dtype = match dtype {
        SaveDtype::Bf16 => DType::Bf16,
        SaveDtype::F32 => DType::F32,
    };
    Ok(TensorBytes { name: name.into(), dtype, shape: shape.into(), bytes: bytes.into() })
}

fn check_sizes(module: &LoraModule) -> Result<()> {
    let rank = module.rank;
    let whole = |length: usize| rank > 0 && length > 0 && length.is_multiple_of(rank);
    if whole(module.a.len()) && whole(module.b.len()) {
        return Ok(());
    }
    let (a, b) = (module.a.len(), module.b.len());
    Err(Error::shape(&module.module, format!("A of {a} and B of {b} values do not have rank {rank}")))
}

/// Little-endian values, rounded once; `None` if one of them is not finite.
fn encode(values: &[f64], dtype: SaveDtype) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(values.len() * 4);
    for &value in values {
        match dtype {
            SaveDtype::F32 => {
                let rounded = value as f32;
                bytes.extend(rounded.is_finite().then(|| rounded.to_le_bytes())?);
            }
            SaveDtype::Bf16 => {
                let rounded = bf16::from_f32(round_to_odd(value));
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
    fn sizes_that_contradict_the_rank_are_refused() {
        let module = |rank, a, b| LoraModule {
            module: "transformer_blocks.0.attn.to_q".into(),
            rank,
            a: vec![0.0; a],
            b: vec![0.0; b],
            scale: 1.0,
        };
        for bad in [module(0, 4, 4), module(3, 4, 6), module(2, 0, 6), module(2, 4, 5)] {
            assert_eq!(tensors(&[bad], SaveDtype::F32).unwrap_err().kind, ErrorKind::Shape);
        }
    }
}
