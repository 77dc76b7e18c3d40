//! stable-diffusion.cpp (`name_conversion.cpp`, `lora.hpp`).
//!
//! It knows `transformer.` and `lycoris_` before diffusers' paths and `diffusion_model.` before those of the
//! single-file layout. Changes of q, k and v are appended in this order and stop at the first that is missing; the
//! halves of the final modulations are not swapped; magnitudes are not known.

use super::tensors::Tensors;
use super::{Loaded, Patch, Reading};
use crate::export::weight_change::{rank, size, with_scale};
use crate::models::adapter::{Change, Module};
use std::collections::BTreeMap;
use std::ops::Range;

const ENDINGS: [[&str; 2]; 3] = [
    [".lora_B.weight", ".lora_A.weight"],
    [".lora_up.weight", ".lora_down.weight"],
    [".lora.up.weight", ".lora.down.weight"],
];

pub(super) fn read(tensors: &Tensors<'_>, layers: &[Module]) -> Reading {
    let mut weights: BTreeMap<&str, Vec<&Module>> = BTreeMap::new();
    for layer in layers {
        weights.entry(&layer.weight).or_default().push(layer);
    }
    let mut patches = Vec::new();
    for (weight, mut parts) in weights {
        parts.sort_by_key(|part| part.rows.start);
        let height = parts.iter().map(|part| part.rows.end).max().unwrap_or(0);
        if let Some(change) = change(tensors, &format!("diffusion_model.{weight}"))
            && size(&change).0 == height
        {
            patches.push(patch(weight, 0..height, change));
            continue;
        }
        let found: Vec<Option<Change>> = parts.iter().map(|part| of_part(tensors, part)).collect();
        if found.iter().all(Option::is_some) {
            let found = parts.iter().zip(found.into_iter().flatten());
            patches.extend(found.map(|(part, change)| patch(weight, part.rows.clone(), change)));
        }
    }
    if patches.is_empty() {
        return Err("no key has a name that it knows: nothing is loaded".to_owned());
    }
    Ok(Loaded { patches, ignored: tensors.unused() })
}

fn patch(weight: &str, rows: Range<usize>, change: Change) -> Patch {
    Patch { weight: weight.to_owned(), rows, change, swapped: false, magnitude: None }
}

fn of_part(tensors: &Tensors<'_>, part: &Module) -> Option<Change> {
    let names = [format!("transformer.{}", part.path), format!("lycoris_{}", part.path.replace('.', "_"))];
    names.iter().find_map(|name| change(tensors, name)).filter(|change| size(change).0 == part.rows.len())
}

fn change(tensors: &Tensors<'_>, name: &str) -> Option<Change> {
    let change = tensors
        .low_rank(name, &ENDINGS)
        .or_else(|| tensors.hadamard(name))
        .or_else(|| tensors.kronecker(name))?;
    let alpha = tensors.scalar(&format!("{name}.alpha"));
    let scale = alpha.zip(rank(&change)).map_or(1.0, |(alpha, rank)| alpha / rank as f64);
    Some(with_scale(change, tensors.scalar(&format!("{name}.scale")).unwrap_or(scale)))
}
