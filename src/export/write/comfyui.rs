//! ComfyUI's form: diffusers' paths under `transformer.`, alpha tensors, magnitudes as `.dora_scale`, LyCORIS' names
//! for the factors of LoHa and LoKr.

use super::contents::Contents;
use super::lycoris::factors;
use super::{Alpha, MAGNITUDES_FOR_COMFYUI};
use crate::error::{Error, Result};
use crate::export::base::Base;
use crate::export::layers;
use crate::export::weight_change::{WeightChange, length, size};
use crate::models::adapter::{AdapterModule, Change};

/// Adds all modules. Magnitudes need the model: ComfyUI divides by the length of the unchanged rows.
pub(super) fn fill(
    contents: &mut Contents,
    modules: &[AdapterModule],
    alpha: Alpha,
    base: Option<&Base>,
) -> Result<()> {
    for module in modules {
        let name = |part: &str| format!("transformer.{}.{part}", module.module);
        let renamed = |part: &str| match part {
            "lora_down.weight" => name("lora_A.weight"),
            "lora_up.weight" => name("lora_B.weight"),
            part => name(part),
        };
        factors(contents, &module.change, alpha, is_scale_one(alpha, &module.change), &renamed)?;
        let Some(magnitude) = &module.magnitude else { continue };
        let base = base.ok_or_else(|| {
            Error::usage(
                "ComfyUI divides magnitudes by the length of the model's own rows, so they depend on it",
            )
            .hint("name the model with --model")
        })?;
        let scales = dora_scale(module, magnitude, base)?;
        contents.values(name("dora_scale"), &[scales.len(), 1], scales.into_iter())?;
        contents.note(MAGNITUDES_FOR_COMFYUI, "dora_scale is divided by the length of the model's own rows");
    }
    Ok(())
}

/// Whether ComfyUI needs no alpha tensor: without one it takes the scale as 1.
fn is_scale_one(alpha: Alpha, change: &Change) -> bool {
    alpha == Alpha::Folded || crate::export::weight_change::scale(change) == 1.0
}

/// Magnitudes that have the same effect when divided by the length of W's rows as `magnitude` has when divided by
/// that of the changed rows; in the single-file layout's order, to which ComfyUI brings the change first.
fn dora_scale(module: &AdapterModule, magnitude: &[f32], base: &Base) -> Result<Vec<f64>> {
    let change = WeightChange::new(&module.change);
    let columns = change.columns();
    let weight = base.weight(&module.module)?;
    let delta = change.delta(0..change.rows());
    let rows = weight.chunks(columns).zip(delta.chunks(columns)).zip(magnitude);
    let mut scales: Vec<f64> = rows
        .map(|((weight, delta), &magnitude)| {
            let changed: Vec<f64> = weight.iter().zip(delta).map(|(weight, delta)| weight + delta).collect();
            let length_of_changed = length(&changed);
            if length_of_changed > 0.0 {
                f64::from(magnitude) * length(weight) / length_of_changed
            } else {
                0.0
            }
        })
        .collect();
    let (outputs, inputs) = size(&module.change);
    if layers::swaps_halves(&module.module, inputs, outputs) {
        scales.rotate_left(outputs / 2);
    }
    Ok(scales)
}
