//! diffusers (`SD3LoraLoaderMixin` in `loaders/lora_pipeline.py`, `loaders/peft.py`, `utils/peft_utils.py`).
//!
//! `dora_scale` keys are dropped; every other key must have "lora" in it; what begins with `transformer.` is loaded
//! through PEFT, with the configuration in the header if there is one, else with alpha equal to the rank of each
//! layer. alpha tensors are never used.

use super::Reading;
use super::peft::{Config, load};
use super::tensors::Tensors;
use crate::models::adapter::Module;
use serde_json::Value;
use std::collections::BTreeMap;

const PREFIX: &str = "transformer.";

/// Old names and PEFT's.
const OLD_NAMES: [(&str, &str); 11] = [
    (".to_out_lora.up", ".to_out.0.lora_B"),
    (".to_out_lora.down", ".to_out.0.lora_A"),
    (".to_q_lora.down", ".to_q.lora_A"),
    (".to_q_lora.up", ".to_q.lora_B"),
    (".to_k_lora.down", ".to_k.lora_A"),
    (".to_k_lora.up", ".to_k.lora_B"),
    (".to_v_lora.down", ".to_v.lora_A"),
    (".to_v_lora.up", ".to_v.lora_B"),
    (".lora.up", ".lora_B"),
    (".lora.down", ".lora_A"),
    (".to_out.lora_magnitude_vector", ".to_out.0.lora_magnitude_vector"),
];

pub(super) fn read(tensors: &Tensors<'_>, layers: &[Module]) -> Reading {
    let kept: Vec<&str> = tensors.keys().filter(|key| !key.contains("dora_scale")).collect();
    if let Some(key) = kept.iter().find(|key| !key.contains("lora")) {
        return Err(format!("\"Invalid LoRA checkpoint\": `{key}` does not have \"lora\" in it"));
    }
    let ours: Vec<&str> = kept.into_iter().filter(|key| key.starts_with(PREFIX)).collect();
    if ours.is_empty() {
        return Err(format!("no key begins with `{PREFIX}`: nothing is loaded, with a warning only"));
    }
    let is_old = ours.first().is_some_and(|first| !first.contains("lora_A"));
    // By the name that PEFT gets, the key in the file.
    let names: BTreeMap<String, String> = ours
        .into_iter()
        .map(|key| {
            let name = key.strip_prefix(PREFIX).unwrap_or(key);
            (if is_old { renamed(name) } else { name.to_owned() }, key.to_owned())
        })
        .collect();
    let config = match header(tensors)? {
        Some(json) => Config::parse(&json, PREFIX)?,
        None => Config::of_tensors(tensors, &names),
    };
    load(tensors, &names, &config, layers)
}

/// The adapter's configuration in the header.
pub(super) fn header(tensors: &Tensors<'_>) -> Result<Option<Value>, String> {
    let text = tensors.metadata().get("lora_adapter_metadata");
    text.map(|text| serde_json::from_str(text).map_err(|e| format!("the header's configuration: {e}")))
        .transpose()
}

fn renamed(name: &str) -> String {
    let found = OLD_NAMES.iter().find(|(old, _)| name.contains(old));
    found.map_or_else(|| name.to_owned(), |(old, new)| name.replace(old, new))
}
