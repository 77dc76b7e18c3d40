//! Writes the one LoRA form that loads at full strength in diffusers, ComfyUI and stable-diffusion.cpp: split keys
//! under `transformer.`, alpha folded into B, no alpha tensors. The bytes depend on the weights and settings alone.

use super::LoraModule;
use crate::error::{Error, ErrorKind, Result};
use crate::files;
use half::bf16;
use serde_json::{Map, Value, json};
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
    files::replace_bytes(path, &lora_bytes(modules, dtype, settings)?)
}

/// The bytes that [`write_lora`] writes.
pub fn lora_bytes(modules: &[LoraModule], dtype: SaveDtype, settings: &Value) -> Result<Vec<u8>> {
    let mut tensors = Vec::with_capacity(2 * modules.len());
    for module in modules {
        check_sizes(module)?;
        let fold = |value: &f32| f64::from(*value) * module.scale;
        let pair = [
            (
                "lora_A",
                [module.rank, module.in_features()],
                module.a.iter().map(|&value| value.into()).collect(),
            ),
            ("lora_B", [module.out_features(), module.rank], module.b.iter().map(fold).collect::<Vec<f64>>()),
        ];
        for (part, shape, values) in pair {
            let name = format!("transformer.{}.{part}.weight", module.module);
            let data = encode(&values, dtype).ok_or_else(|| {
                Error::new(
                    ErrorKind::Training,
                    format!("tensor `{name}`"),
                    "it holds values that are not finite",
                )
                .hint("nothing was written; lower the learning rate or start from an earlier checkpoint")
            })?;
            tensors.push(Tensor { name, shape, data });
        }
    }
    tensors.sort_by(|a, b| a.name.cmp(&b.name));
    let settings = settings.to_string();
    Ok(safetensors_bytes(&tensors, dtype, &[("format", "pt"), ("sargent", &settings)]))
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

struct Tensor {
    name: String,
    shape: [usize; 2],
    data: Vec<u8>,
}

/// A safetensors file with its tensors and metadata in the order given.
fn safetensors_bytes(tensors: &[Tensor], dtype: SaveDtype, metadata: &[(&str, &str)]) -> Vec<u8> {
    let dtype = match dtype {
        SaveDtype::Bf16 => "BF16",
        SaveDtype::F32 => "F32",
    };
    let metadata: Map<String, Value> = metadata.iter().map(|&(k, v)| (k.to_owned(), json!(v))).collect();
    let mut header = Map::from_iter([("__metadata__".to_owned(), Value::Object(metadata))]);
    let mut start = 0;
    for Tensor { name, shape, data } in tensors {
        let end = start + data.len();
        header.insert(name.clone(), json!({ "dtype": dtype, "shape": shape, "data_offsets": [start, end] }));
        start = end;
    }
    let mut header = Value::Object(header).to_string();
    header.push_str(&" ".repeat(header.len().next_multiple_of(8) - header.len()));
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    tensors.iter().for_each(|tensor| bytes.extend(&tensor.data));
    bytes
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
            assert_eq!(lora_bytes(&[bad], SaveDtype::F32, &json!({})).unwrap_err().kind, ErrorKind::Shape);
        }
    }
}
