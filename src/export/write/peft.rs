//! PEFT's form as diffusers writes it: `transformer.<path>.lora_A.weight`, no alpha tensors (diffusers refuses keys
//! without "lora" in them), magnitudes as `.lora_magnitude_vector`.

use super::contents::Contents;
use super::{Alpha, cannot};
use crate::error::{Error, Result};
use crate::export::weight_change::{rank, scale};
use crate::models::adapter::{AdapterModule, Change};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

const FORM: &str = "PEFT's LoRA form";

/// Adds all modules.
pub(super) fn fill(contents: &mut Contents, modules: &[AdapterModule], alpha: Alpha) -> Result<()> {
    if alpha == Alpha::Tensor {
        return Err(Error::usage("diffusers refuses a file with alpha tensors")
            .hint("alpha can be `folded` or `metadata` in this form"));
    }
    let with_magnitudes = modules.iter().filter(|module| module.magnitude.is_some()).count();
    for module in modules {
        let Change::LowRank { a, b, scale } = &module.change else {
            let hint = "use --to lycoris or comfyui, or --resize RANK for the nearest low-rank pairs";
            return Err(cannot(FORM, module, "it knows low-rank pairs alone", hint));
        };
        if with_magnitudes > 0 && module.magnitude.is_none() {
            let why = "diffusers makes every layer of a file with magnitudes a DoRA layer";
            return Err(cannot(FORM, module, why, "use --to comfyui or lycoris"));
        }
        let factor = if alpha == Alpha::Folded { *scale } else { 1.0 };
        let name = |part: &str| format!("transformer.{}.{part}", module.module);
        contents.matrix(name("lora_A.weight"), a, 1.0)?;
        contents.matrix(name("lora_B.weight"), b, factor)?;
        if let Some(magnitude) = &module.magnitude {
            let values = magnitude.iter().map(|&value| f64::from(value));
            contents.values(name("lora_magnitude_vector"), &[magnitude.len()], values)?;
        }
    }
    if alpha == Alpha::Metadata || with_magnitudes > 0 {
        let config = config(modules, alpha, with_magnitudes > 0);
        contents.note("lora_adapter_metadata", &config.to_string());
    }
    Ok(())
}

/// The fields of PEFT's `LoraConfig` that say what the tensors do not.
fn config(modules: &[AdapterModule], alpha: Alpha, use_dora: bool) -> Value {
    let ranks: Vec<f64> = modules.iter().map(|module| rank(&module.change).unwrap_or(1) as f64).collect();
    let alphas: Vec<f64> = match alpha {
        Alpha::Folded => ranks.clone(),
        _ => modules.iter().zip(&ranks).map(|(module, rank)| scale(&module.change) * rank).collect(),
    };
    let (usual_rank, usual_alpha) = (most_common(&ranks), most_common(&alphas));
    let pattern = |values: &[f64], usual: f64| -> Map<String, Value> {
        let others = modules.iter().zip(values).filter(|(_, value)| **value != usual);
        others.map(|(module, value)| (module.module.clone(), number(*value))).collect()
    };
    let targets: Vec<&str> = modules.iter().map(|module| module.module.as_str()).collect();
    json!({
        "transformer.r": number(usual_rank),
        "transformer.lora_alpha": number(usual_alpha),
        "transformer.rank_pattern": pattern(&ranks, usual_rank),
        "transformer.alpha_pattern": pattern(&alphas, usual_alpha),
        "transformer.target_modules": targets,
        "transformer.use_dora": use_dora,
    })
}

fn most_common(values: &[f64]) -> f64 {
    let mut counts: BTreeMap<u64, usize> = BTreeMap::new();
    for value in values {
        *counts.entry(value.to_bits()).or_default() += 1;
    }
    counts.into_iter().max_by_key(|(_, count)| *count).map_or(1.0, |(bits, _)| f64::from_bits(bits))
}

/// Whole numbers as such: PEFT's ranks are integers.
fn number(value: f64) -> Value {
    if value.fract() == 0.0 && value.abs() < 1e9 { json!(value as i64) } else { json!(value) }
}
