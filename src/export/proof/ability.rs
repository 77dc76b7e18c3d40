//! What each reader can do at all, whatever the names in a file.

use crate::export::layers::{single_file, swaps_halves};
use crate::export::weight_change::size;
use crate::export::write::Form;
use crate::models::adapter::{AdapterModule, Change};
use std::collections::BTreeMap;

/// Whether `reader` can do what `modules` do in a file of `form`; a file with others is not meant for it.
pub(super) fn is_able(reader: &str, form: Form, modules: &[AdapterModule]) -> bool {
    let low_rank = modules.iter().all(|module| matches!(module.change, Change::LowRank { .. }));
    let magnitudes = modules.iter().any(|module| module.magnitude.is_some());
    match reader {
        "kohya" => low_rank && !magnitudes,
        "diffusers" | "PEFT" => low_rank,
        // It applies q, k and v all or not, and renames the final modulations without swapping their halves.
        "stable-diffusion.cpp" => !magnitudes && !has_swapped_halves(modules) && has_whole_layers(modules),
        // Magnitudes as others write them are divided by the length of the wrong rows, or dropped.
        "ComfyUI" => !magnitudes || form == Form::Comfyui,
        _ => true,
    }
}

/// Whether `reader` looks for the scale in the header.
pub(in crate::export) fn reads_header(reader: &str) -> bool {
    matches!(reader, "diffusers" | "PEFT")
}

fn has_swapped_halves(modules: &[AdapterModule]) -> bool {
    modules.iter().any(|module| {
        let (outputs, inputs) = size(&module.change);
        swaps_halves(&module.module, inputs, outputs)
    })
}

/// Whether every layer of the single-file layout has all its parts or none.
fn has_whole_layers(modules: &[AdapterModule]) -> bool {
    let mut missing: BTreeMap<String, usize> = BTreeMap::new();
    for (layer, _, parts) in modules.iter().filter_map(|module| single_file(&module.module)) {
        let missing = missing.entry(layer).or_insert(parts);
        *missing = missing.saturating_sub(1);
    }
    missing.values().all(|missing| *missing == 0)
}
