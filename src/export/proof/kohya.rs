//! kohya's sd-scripts (`networks/lora_sd3.py`: `create_network_from_weights`, `LoRAInfModule.merge_to`).
//!
//! What stands before the first dot is a layer's name; its rank is read off `lora_down`, its alpha from the tensor,
//! without which there is a KeyError. q, k and v are one layer. LoHa, LoKr and magnitudes are not known.

use super::tensors::Tensors;
use super::{Loaded, Patch, Reading};
use crate::export::weight_change::{size, with_scale};
use crate::models::adapter::{Change, Module};
use std::collections::BTreeMap;

pub(super) fn read(tensors: &Tensors<'_>, layers: &[Module]) -> Reading {
    let mut weights: BTreeMap<&str, usize> = BTreeMap::new();
    for layer in layers {
        let height = weights.entry(&layer.weight).or_default();
        *height = layer.rows.end.max(*height);
    }
    let mut patches = Vec::new();
    for (weight, height) in weights {
        let name = format!("lora_unet_{}", weight.replace('.', "_"));
        let Some(change) = tensors.low_rank(&name, &[[".lora_up.weight", ".lora_down.weight"]]) else {
            continue;
        };
        let Change::LowRank { a, .. } = &change else { continue };
        let rank = a.rows as f64;
        let Some(alpha) = tensors.scalar(&format!("{name}.alpha")) else {
            return Err(format!("KeyError: `{name}` has no alpha"));
        };
        if size(&change).0 != height {
            return Err(format!("size mismatch: `{name}` is of another size in the model"));
        }
        let alpha = if alpha == 0.0 { rank } else { alpha };
        patches.push(Patch {
            weight: weight.to_owned(),
            rows: 0..height,
            change: with_scale(change, alpha / rank),
            swapped: false,
            magnitude: None,
        });
    }
    if patches.is_empty() {
        return Err("no key begins with the `lora_unet_` name of a layer: nothing is loaded".to_owned());
    }
    Ok(Loaded { patches, ignored: tensors.unused() })
}
