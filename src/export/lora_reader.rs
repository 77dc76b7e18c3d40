//! Reads LoRA files of the common tools: ours, PEFT's with and without its metadata, older diffusers names, kohya's
//! fused single-file names, ComfyUI's and OneTrainer's variants of these.

use super::module_names::{self, Layer};
use crate::error::{Error, Result};
use crate::models::adapter::LoraModule;
use crate::tensor::DType;
use crate::weights::TensorFile;
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

/// Suffixes of the two factors.
const A_SUFFIXES: [&str; 3] = [".lora_A.weight", ".lora_down.weight", ".lora.down.weight"];
const B_SUFFIXES: [&str; 3] = [".lora_B.weight", ".lora_up.weight", ".lora.up.weight"];
const ALPHA_SUFFIX: &str = ".alpha";

/// Parts of a key that tell adapters of other kinds.
const OTHER_KINDS: [(&str, &str); 5] = [
    ("lora_magnitude_vector", "DoRA"),
    ("dora_scale", "DoRA"),
    (".hada_", "LoHa"),
    (".lokr_", "LoKr"),
    (".lora_mid.", "Tucker LoRA"),
];

/// How many names an error lists.
const LISTED: usize = 5;

/// Reads the LoRA at `path`, split and ordered as in the diffusers layout; modules come sorted by name.
///
/// alpha is taken from an `.alpha` tensor, else from PEFT's metadata, else it equals the rank.
///
/// # Errors
/// Not a safetensors file; not a LoRA, or one of another kind; layers that SD3.5 lacks; a factor without its
/// partner; wrong shapes; values that are not finite.
pub fn read_lora(path: &Path) -> Result<Vec<LoraModule>> {
    let bytes = std::fs::read(path).map_err(|e| Error::io(path, &e))?;
    let file = TensorFile::from_bytes(path, bytes).map_err(|e| {
        Error::weights(path, format!("not a whole safetensors file ({})", e.cause))
            .hint("download or export the LoRA again")
    })?;
    let metadata = PeftMetadata::parse(path, file.metadata())?;

    let mut modules = BTreeMap::new();
    for (name, pair, layer) in pairs_by_layer(&file)? {
        for module in read_pair(&file, &name, &pair, &layer, metadata.as_ref())? {
            if let Some(twice) = modules.insert(module.module.clone(), module) {
                return Err(Error::weights(path, format!("it holds two adapters for `{}`", twice.module)));
            }
        }
    }
    Ok(modules.into_values().collect())
}

/// The keys of the tensors of one name.
#[derive(Default)]
struct Pair<'a> {
    a: Option<&'a str>,
    b: Option<&'a str>,
    alpha: Option<&'a str>,
}

/// Sorts the file's tensors into pairs and finds the layer of each.
fn pairs_by_layer(file: &TensorFile) -> Result<Vec<(String, Pair<'_>, Layer)>> {
    let path = file.path();
    let mut pairs: BTreeMap<String, Pair> = BTreeMap::new();
    let mut strangers = Vec::new();
    for key in file.names() {
        if let Some((_, kind)) = OTHER_KINDS.iter().find(|(part, _)| key.contains(part)) {
            return Err(Error::tensor(
                path,
                key,
                format!("this is a {kind} adapter, which is not supported"),
            ));
        }
        let strip = |suffixes: &[&str]| suffixes.iter().find_map(|suffix| key.strip_suffix(suffix));
        if let Some(name) = strip(&A_SUFFIXES) {
            pairs.entry(name.to_owned()).or_default().a = Some(key);
        } else if let Some(name) = strip(&B_SUFFIXES) {
            pairs.entry(name.to_owned()).or_default().b = Some(key);
        } else if let Some(name) = key.strip_suffix(ALPHA_SUFFIX) {
            pairs.entry(name.to_owned()).or_default().alpha = Some(key);
        } else {
            strangers.push(key.to_owned());
        }
    }
    if pairs.values().all(|pair| pair.a.is_none() && pair.b.is_none()) {
        return Err(Error::weights(
            path,
            "not a LoRA: it holds no lora_A/lora_B or lora_down/lora_up tensors",
        )
        .hint("a whole model belongs into pretrained_model_name_or_path or --model"));
    }
    let mut found = Vec::new();
    for (name, pair) in pairs {
        match module_names::find(&name) {
            Some(layer) => found.push((name, pair, layer)),
            None => strangers.push(name),
        }
    }
    strangers.sort();
    if strangers.is_empty() { Ok(found) } else { Err(unknown_modules(path, &strangers)) }
}

fn unknown_modules(path: &Path, names: &[String]) -> Error {
    let listed: Vec<String> = names.iter().take(LISTED).map(|name| format!("`{name}`")).collect();
    let more = names.len().saturating_sub(LISTED);
    let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
    Error::weights(
        path,
        format!("layers that SD3.5's transformer does not have: {}{rest}", listed.join(", ")),
    )
    .hint("the LoRA may be for another model, or train text encoders, which is not supported")
}

/// The modules of one pair: one, or three that share A and split B's rows.
fn read_pair(
    file: &TensorFile,
    name: &str,
    pair: &Pair<'_>,
    layer: &Layer,
    metadata: Option<&PeftMetadata>,
) -> Result<Vec<LoraModule>> {
    let path = file.path();
    let missing = |part: &str| Error::weights(path, format!("the adapter `{name}` lacks its {part}"));
    let a_key = pair.a.ok_or_else(|| missing("lora_A (lora_down)"))?;
    let b_key = pair.b.ok_or_else(|| missing("lora_B (lora_up)"))?;
    let [rank, in_features] = extents(file, a_key)?;
    let [out_features, b_rank] = extents(file, b_key)?;
    if rank != b_rank {
        let cause = format!("shape [{out_features}, {b_rank}] does not fit lora_A's rank {rank}");
        return Err(Error::tensor(path, b_key, cause));
    }
    let (a, mut b) = (floats(file, a_key)?, floats(file, b_key)?);
    let chunks = layer.modules.len();
    let swaps = layer.swaps_halves(in_features, out_features);
    if !out_features.is_multiple_of(if swaps { 2 } else { chunks }) {
        return Err(Error::tensor(path, b_key, format!("{out_features} rows do not split into equal parts")));
    }
    if swaps {
        let half = b.len() / 2;
        b.rotate_left(half);
    }
    let rows = b.len() / chunks;
    let scale = match (pair.alpha, metadata) {
        (Some(key), _) => alpha_value(file, key)? / rank as f64,
        (None, Some(metadata)) => metadata.scale(path, &layer.modules[0], rank)?,
        (None, None) => 1.0,
    };
    let module = |(module, b): (&String, &[f32])| LoraModule {
        module: module.clone(),
        rank,
        a: a.clone(),
        b: b.to_vec(),
        scale,
    };
    Ok(layer.modules.iter().zip(b.chunks(rows)).map(module).collect())
}

fn extents(file: &TensorFile, key: &str) -> Result<[usize; 2]> {
    match *file.view(key)?.shape {
        [rows, columns] if rows > 0 && columns > 0 => Ok([rows, columns]),
        ref shape => {
            Err(Error::tensor(file.path(), key, format!("shape {shape:?} where a matrix is expected")))
        }
    }
}

fn alpha_value(file: &TensorFile, key: &str) -> Result<f64> {
    match floats(file, key)?.as_slice() {
        [alpha] => Ok(f64::from(*alpha)),
        values => {
            let cause = format!("{} values where one alpha is expected", values.len());
            Err(Error::tensor(file.path(), key, cause))
        }
    }
}

fn floats(file: &TensorFile, key: &str) -> Result<Vec<f32>> {
    let wrong = |cause: String| Error::tensor(file.path(), key, cause);
    let dtype = file.view(key)?.dtype;
    if !matches!(dtype, DType::F32 | DType::F64 | DType::Bf16 | DType::F16) {
        return Err(wrong(format!("the element type {dtype} is not supported")));
    }
    let values = file.read_f32(key)?;
    match values.iter().position(|value| !value.is_finite()) {
        None => Ok(values),
        Some(at) => Err(wrong(format!("element {at} is {}", values[at]))
            .hint("the training that made this file diverged; use an earlier checkpoint")),
    }
}

/// What PEFT says about rank and alpha in `lora_adapter_metadata`.
struct PeftMetadata {
    rank: Option<f64>,
    alpha: Option<f64>,
    rank_pattern: HashMap<String, f64>,
    alpha_pattern: HashMap<String, f64>,
    by_root_of_rank: bool,
}

impl PeftMetadata {
    /// `None` where the header has no such metadata.
    fn parse(path: &Path, header: &BTreeMap<String, String>) -> Result<Option<Self>> {
        let Some(text) = header.get("lora_adapter_metadata") else {
            return Ok(None);
        };
        let json: Value = serde_json::from_str(text).map_err(|e| {
            Error::weights(path, format!("lora_adapter_metadata in its header is not JSON ({e})"))
        })?;
        let get = |key: &str| json.get(format!("transformer.{key}")).unwrap_or(&Value::Null);
        if get("use_dora") == &Value::Bool(true) {
            return Err(Error::weights(path, "this is a DoRA adapter, which is not supported"));
        }
        let pattern = |key: &str| {
            let entries = get(key).as_object().into_iter().flatten();
            entries.filter_map(|(name, value)| Some((name.clone(), value.as_f64()?))).collect()
        };
        Ok(Some(Self {
            rank: get("r").as_f64(),
            alpha: get("lora_alpha").as_f64(),
            rank_pattern: pattern("rank_pattern"),
            alpha_pattern: pattern("alpha_pattern"),
            by_root_of_rank: get("use_rslora") == &Value::Bool(true),
        }))
    }

    /// alpha over rank (or over its root, if the file says so) of a module.
    fn scale(&self, path: &Path, module: &str, rank: usize) -> Result<f64> {
        let rank = rank as f64;
        if let Some(stated) = by_suffix(&self.rank_pattern, module).or(self.rank)
            && stated != rank
        {
            let cause =
                format!("its header says rank {stated} for `{module}`, whose tensors have rank {rank}");
            return Err(Error::weights(path, cause));
        }
        let alpha = by_suffix(&self.alpha_pattern, module).or(self.alpha).unwrap_or(rank);
        Ok(alpha / if self.by_root_of_rank { rank.sqrt() } else { rank })
    }
}

/// The entry whose name is the module's, or its end after a dot; the longest if several are.
fn by_suffix(pattern: &HashMap<String, f64>, module: &str) -> Option<f64> {
    let matches =
        |name: &str| module.strip_suffix(name).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
    pattern
        .iter()
        .filter(|(name, _)| matches(name))
        .max_by_key(|(name, _)| name.len())
        .map(|(_, &value)| value)
}
