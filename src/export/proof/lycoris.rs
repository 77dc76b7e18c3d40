//! LyCORIS (`lycoris/wrapper.py`: `create_lycoris_from_weights`; `lycoris/modules/`), on a diffusers model as
//! SimpleTuner uses it.
//!
//! Names are `lycoris_` and the layer's path with underscores. The scale is alpha over the rank that the factors
//! have, and 1 for a Kronecker product of whole factors. Magnitudes along the output axis are divided by the length
//! of the changed rows.

use super::tensors::Tensors;
use super::{Loaded, Patch, Reading};
use crate::export::weight_change::{RowNorm, rank, size, with_scale};
use crate::models::adapter::Module;

pub(super) fn read(tensors: &Tensors<'_>, layers: &[Module]) -> Reading {
    let mut patches = Vec::new();
    for layer in layers {
        let name = format!("lycoris_{}", layer.path.replace('.', "_"));
        let Some(change) = tensors
            .low_rank(&name, &[[".lora_up.weight", ".lora_down.weight"]])
            .or_else(|| tensors.hadamard(&name))
            .or_else(|| tensors.kronecker(&name))
        else {
            continue;
        };
        if size(&change) != (layer.rows.len(), layer.inputs) {
            return Err(format!("size mismatch: `{name}` is of another size in the model"));
        }
        let alpha = tensors.scalar(&format!("{name}.alpha"));
        let scale = match (alpha, rank(&change)) {
            (Some(alpha), Some(rank)) => alpha / rank as f64,
            (_, None) => 1.0,
            (None, Some(_)) => return Err(format!("`{name}` has no alpha")),
        };
        let change = with_scale(change, scale);
        let mut magnitude = tensors.vector(&format!("{name}.dora_scale"));
        if layer.halves_swapped {
            // Its rows are in diffusers' order, as the change is.
            if let Some(magnitude) = &mut magnitude {
                let half = magnitude.len() / 2;
                magnitude.rotate_left(half);
            }
        }
        let magnitude = magnitude
            .filter(|magnitude| magnitude.len() == layer.rows.len())
            .map(|magnitude| (magnitude, RowNorm::Changed));
        patches.push(Patch {
            weight: layer.weight.clone(),
            rows: layer.rows.clone(),
            change,
            swapped: layer.halves_swapped,
            magnitude,
        });
    }
    if patches.is_empty() {
        return Err("no key begins with the `lycoris_` name of a layer: nothing is loaded".to_owned());
    }
    Ok(Loaded { patches, ignored: tensors.unused() })
}
