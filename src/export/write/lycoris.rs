//! LyCORIS' form: `lycoris_transformer_blocks_0_attn_to_q.lokr_w1`, alpha tensors, magnitudes as `.dora_scale`.

use super::Alpha;
use super::contents::Contents;
use crate::error::Result;
use crate::export::layers;
use crate::export::weight_change::{matrices, rank, scale};
use crate::models::adapter::{AdapterModule, Change};
use serde_json::json;

/// Adds all modules.
pub(super) fn fill(contents: &mut Contents, modules: &[AdapterModule], alpha: Alpha) -> Result<()> {
    for module in modules {
        let name = |part: &str| format!("lycoris_{}.{part}", layers::flattened(&module.module));
        factors(contents, &module.change, alpha, false, &name)?;
        if let Some(magnitude) = &module.magnitude {
            let values = magnitude.iter().map(|&value| f64::from(value));
            contents.values(name("dora_scale"), &[magnitude.len(), 1], values)?;
        }
    }
    contents.note("lycoris_config", &config(modules).to_string());
    Ok(())
}

/// Adds the factors of `change` under LyCORIS' names of parts, and alpha unless it is implied by its absence.
pub(super) fn factors(
    contents: &mut Contents,
    change: &Change,
    alpha: Alpha,
    alpha_is_implied: bool,
    name: &dyn Fn(&str) -> String,
) -> Result<()> {
    let (scale, rank) = (scale(change), rank(change));
    // Whole Kronecker factors have no scale in any file: it goes into the first.
    let folded = alpha == Alpha::Folded || rank.is_none();
    let target = if matches!(change, Change::LowRank { .. }) { 1 } else { 0 };
    for (index, (part, matrix)) in matrices(change).into_iter().enumerate() {
        let factor = if folded && index == target { scale } else { 1.0 };
        let key = if part.starts_with("lora_") { name(&format!("{part}.weight")) } else { name(part) };
        contents.matrix(key, matrix, factor)?;
    }
    if !alpha_is_implied {
        let rank = rank.unwrap_or(1) as f64;
        contents.alpha(name("alpha"), if folded { rank } else { scale * rank });
    }
    Ok(())
}

/// What LyCORIS' wrapper is set up with before the tensors are loaded into it.
fn config(modules: &[AdapterModule]) -> serde_json::Value {
    let algo = match modules.first().map(|module| &module.change) {
        Some(Change::Hadamard { .. }) => "loha",
        Some(Change::Kronecker { .. }) => "lokr",
        _ => "lora",
    };
    let largest = modules.iter().filter_map(|module| rank(&module.change)).max().unwrap_or(1);
    let dora = modules.iter().any(|module| module.magnitude.is_some());
    json!({
        "algo": algo, "multiplier": 1.0, "linear_dim": largest, "linear_alpha": largest,
        "dora_wd": dora, "wd_on_out": dora,
    })
}
