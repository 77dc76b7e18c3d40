//! ComfyUI (`comfy/lora.py`, `comfy/weight_adapter/`, `mmdit_to_diffusers` in `comfy/utils.py`).
//!
//! For every name that a layer of its model has, it looks for an adapter under that name. diffusers' q, k and v are
//! rows of its fused weight, and the halves of the final modulations are swapped back. alpha tensors count whatever
//! the names; without one the scale is 1. The header is not read, `lora_magnitude_vector` is not known, and a
//! `dora_scale` along the output axis is divided by the length of the model's own rows.

use super::tensors::Tensors;
use super::{Loaded, Patch, Reading};
use crate::export::weight_change::{RowNorm, rank, size, with_scale};
use crate::models::adapter::Module;
use std::collections::BTreeMap;
use std::ops::Range;

/// Up and down, in the order in which they are tried.
const ENDINGS: [[&str; 2]; 6] = [
    [".lora_up.weight", ".lora_down.weight"],
    ["_lora.up.weight", "_lora.down.weight"],
    [".lora_B.weight", ".lora_A.weight"],
    [".lora.up.weight", ".lora.down.weight"],
    [".lora_B", ".lora_A"],
    [".lora_B.default.weight", ".lora_A.default.weight"],
];

pub(super) fn read(tensors: &Tensors<'_>, layers: &[Module]) -> Reading {
    let mut patches: BTreeMap<(String, usize), Patch> = BTreeMap::new();
    for layer in layers {
        let height =
            layers.iter().filter(|other| other.weight == layer.weight).map(|other| other.rows.end).max();
        let whole = 0..height.unwrap_or(layer.rows.end);
        for name in single_file_names(&layer.weight) {
            if let Some(patch) = patch(tensors, &name, &layer.weight, &whole, false) {
                patches.insert((layer.weight.clone(), 0), patch);
            }
        }
        for name in diffusers_names(&layer.path) {
            if let Some(patch) = patch(tensors, &name, &layer.weight, &layer.rows, layer.halves_swapped) {
                patches.insert((layer.weight.clone(), 1 + layer.rows.start), patch);
            }
        }
    }
    if patches.is_empty() {
        return Err("no key has a name that it knows: nothing is loaded".to_owned());
    }
    Ok(Loaded { patches: patches.into_values().collect(), ignored: tensors.unused() })
}

fn single_file_names(weight: &str) -> [String; 3] {
    let flat = weight.replace('.', "_");
    [format!("diffusion_model.{weight}"), format!("lora_unet_{flat}"), format!("lora_prior_unet_{flat}")]
}

fn diffusers_names(path: &str) -> [String; 4] {
    let flat = path.replace('.', "_");
    [
        format!("transformer.{path}"),
        format!("base_model.model.{path}"),
        format!("lora_transformer_{flat}"),
        format!("lycoris_{flat}"),
    ]
}

/// The adapter under `name`, if it is there.
fn patch(tensors: &Tensors<'_>, name: &str, weight: &str, rows: &Range<usize>, swaps: bool) -> Option<Patch> {
    let change = tensors
        .low_rank(name, &ENDINGS)
        .or_else(|| tensors.hadamard(name))
        .or_else(|| tensors.kronecker(name))?;
    // A change of another shape is an error in its log, and the weight stays as it is.
    if size(&change).0 != rows.len() {
        return None;
    }
    let alpha = tensors.scalar(&format!("{name}.alpha"));
    let scale = alpha.zip(rank(&change)).map_or(1.0, |(alpha, rank)| alpha / rank as f64);
    let change = with_scale(change, scale);
    let magnitude = tensors
        .vector(&format!("{name}.dora_scale"))
        .filter(|_| tensors.rows(&format!("{name}.dora_scale")) == Some(rows.len()))
        .map(|magnitude| (magnitude, RowNorm::Base));
    Some(Patch { weight: weight.to_owned(), rows: rows.clone(), change, swapped: swaps, magnitude })
}
