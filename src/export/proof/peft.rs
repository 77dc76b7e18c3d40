//! PEFT (`LoraConfig`, `LoraModel`, `set_peft_model_state_dict`).
//!
//! Layers whose names end with one of the targets get a pair of the configured rank and alpha, by pattern if one
//! fits; then the tensors are put in by name. A pair of another rank is an error; a layer without tensors stays as it
//! was. Magnitudes are divided by the length of the changed rows.

use super::tensors::Tensors;
use super::{Loaded, Patch, Reading};
use crate::export::weight_change::{RowNorm, with_scale};
use crate::models::adapter::{Change, Module};
use serde_json::Value;
use std::collections::BTreeMap;

/// The fields of `LoraConfig` in PEFT 0.21; another one is a TypeError.
const FIELDS: [&str; 42] = [
    "task_type",
    "peft_type",
    "auto_mapping",
    "peft_version",
    "base_model_name_or_path",
    "revision",
    "inference_mode",
    "r",
    "target_modules",
    "exclude_modules",
    "lora_alpha",
    "lora_dropout",
    "fan_in_fan_out",
    "bias",
    "use_rslora",
    "modules_to_save",
    "init_lora_weights",
    "layers_to_transform",
    "layers_pattern",
    "rank_pattern",
    "alpha_pattern",
    "megatron_config",
    "megatron_core",
    "trainable_token_indices",
    "loftq_config",
    "eva_config",
    "corda_config",
    "lora_ga_config",
    "use_dora",
    "velora_config",
    "alora_invocation_tokens",
    "use_qalora",
    "qalora_group_size",
    "monteclora_config",
    "layer_replication",
    "runtime_config",
    "lora_bias",
    "target_parameters",
    "use_bdlora",
    "arrow_config",
    "kasa_config",
    "ensure_weight_tying",
];

/// What a `LoraConfig` says.
pub(super) struct Config {
    rank: f64,
    alpha: f64,
    ranks: Vec<(String, f64)>,
    alphas: Vec<(String, f64)>,
    targets: Vec<String>,
    by_root_of_rank: bool,
    has_magnitudes: bool,
}

impl Config {
    /// From JSON whose keys begin with `prefix`.
    pub fn parse(json: &Value, prefix: &str) -> Result<Self, String> {
        let object = json.as_object().ok_or("the header's configuration is no object")?;
        let fields: BTreeMap<&str, &Value> =
            object.iter().filter_map(|(key, value)| Some((key.strip_prefix(prefix)?, value))).collect();
        if let Some(unknown) = fields.keys().find(|field| !FIELDS.contains(field)) {
            return Err(format!("TypeError: the header's configuration has an unknown field `{unknown}`"));
        }
        let number =
            |key: &str, usual: f64| fields.get(key).and_then(|value| value.as_f64()).unwrap_or(usual);
        let pattern = |key: &str| {
            let entries = fields.get(key).and_then(|value| value.as_object()).into_iter().flatten();
            entries.filter_map(|(name, value)| Some((name.clone(), value.as_f64()?))).collect()
        };
        let is_set = |key: &str| fields.get(key) == Some(&&Value::Bool(true));
        let targets = fields.get("target_modules").and_then(|value| value.as_array()).into_iter().flatten();
        Ok(Self {
            rank: number("r", 8.0),
            alpha: number("lora_alpha", 8.0),
            ranks: pattern("rank_pattern"),
            alphas: pattern("alpha_pattern"),
            targets: targets.filter_map(|target| target.as_str().map(str::to_owned)).collect(),
            by_root_of_rank: is_set("use_rslora"),
            has_magnitudes: is_set("use_dora"),
        })
    }

    /// What diffusers makes up from the tensors: alpha is the rank of each layer. `names` leads to the keys.
    pub fn of_tensors(tensors: &Tensors<'_>, names: &BTreeMap<String, String>) -> Self {
        let ranks: Vec<(String, f64)> = names
            .iter()
            .filter_map(|(name, key)| {
                let module = name.strip_suffix(".lora_A.weight")?;
                Some((format!("^{module}"), tensors.rows(key)? as f64))
            })
            .collect();
        let mut targets: Vec<String> =
            names.keys().filter_map(|name| Some(name.split_once(".lora")?.0.to_owned())).collect();
        targets.dedup();
        Self {
            rank: 1.0,
            alpha: 1.0,
            alphas: ranks.clone(),
            ranks,
            targets,
            by_root_of_rank: false,
            has_magnitudes: names.keys().any(|name| name.contains("lora_magnitude_vector")),
        }
    }

    fn targets(&self, module: &str) -> bool {
        let fits = |target: &String| {
            module.strip_suffix(target.as_str()).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        };
        self.targets.iter().any(fits)
    }

    fn scale(&self, module: &str) -> f64 {
        let (rank, alpha) = (self.rank(module), by_pattern(&self.alphas, module).unwrap_or(self.alpha));
        alpha / if self.by_root_of_rank { rank.sqrt() } else { rank }
    }

    fn rank(&self, module: &str) -> f64 {
        by_pattern(&self.ranks, module).unwrap_or(self.rank)
    }
}

/// `re.match(rf"(.*\.)?({pattern})$", module)`, the first that fits, for patterns that are names.
fn by_pattern(patterns: &[(String, f64)], module: &str) -> Option<f64> {
    let fits = |pattern: &str| match pattern.strip_prefix('^') {
        Some(whole) => module == whole,
        None => module.strip_suffix(pattern).is_some_and(|rest| rest.is_empty() || rest.ends_with('.')),
    };
    patterns.iter().find(|(pattern, _)| fits(pattern)).map(|(_, value)| *value)
}

/// The transformer's part of a file, put into a model by hand.
pub(super) fn read(tensors: &Tensors<'_>, layers: &[Module]) -> Reading {
    let bare = |key: &str| {
        let prefixes = ["base_model.model.", "transformer."];
        let name = prefixes.iter().find_map(|prefix| key.strip_prefix(prefix)).unwrap_or(key);
        name.to_owned()
    };
    let names: BTreeMap<String, String> =
        tensors.keys().filter(|key| key.contains("lora_")).map(|key| (bare(key), key.to_owned())).collect();
    let config = match super::diffusers::header(tensors)? {
        Some(json) => Config::parse(&json, "transformer.")?,
        None => Config::of_tensors(tensors, &names),
    };
    load(tensors, &names, &config, layers)
}

/// Puts the tensors `names` (by PEFT's name, the key in the file) into a model with the adapters of `config`.
pub(super) fn load(
    tensors: &Tensors<'_>,
    names: &BTreeMap<String, String>,
    config: &Config,
    layers: &[Module],
) -> Reading {
    let mut patches = Vec::new();
    for layer in layers.iter().filter(|layer| config.targets(&layer.path)) {
        let key = |part: &str| names.get(&format!("{}.{part}", layer.path));
        let (Some(a), Some(b)) = (key("lora_A.weight"), key("lora_B.weight")) else { continue };
        let (Some(a), Some(b)) = (tensors.matrix(a), tensors.matrix(b)) else { continue };
        let rank = config.rank(&layer.path);
        if a.rows as f64 != rank || b.columns as f64 != rank {
            return Err(format!("size mismatch: `{}` has rank {}, not {rank}", layer.path, a.rows));
        }
        if (a.columns, b.rows) != (layer.inputs, layer.rows.len()) {
            return Err(format!("size mismatch: `{}` is of another size in the model", layer.path));
        }
        let magnitude = key("lora_magnitude_vector").or_else(|| key("lora_magnitude_vector.weight"));
        let magnitude = magnitude.filter(|_| config.has_magnitudes).and_then(|key| tensors.vector(key));
        let mut patch = Patch {
            weight: layer.weight.clone(),
            rows: layer.rows.clone(),
            change: with_scale(Change::LowRank { a, b, scale: 1.0 }, config.scale(&layer.path)),
            swapped: layer.halves_swapped,
            magnitude: magnitude.map(|magnitude| (magnitude, RowNorm::Changed)),
        };
        if layer.halves_swapped {
            // Its rows are in diffusers' order, as the change is.
            if let Some((magnitude, _)) = &mut patch.magnitude {
                let half = magnitude.len() / 2;
                magnitude.rotate_left(half);
            }
        }
        patches.push(patch);
    }
    if patches.is_empty() {
        return Err("no tensor has the name of a layer's low-rank pair".to_owned());
    }
    Ok(Loaded { patches, ignored: tensors.unused() })
}
