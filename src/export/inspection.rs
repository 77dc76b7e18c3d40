//! What an adapter file is: who made it, what it changes and how much, and how each reader takes it.

use super::base::Base;
use super::proof::{self, Verdict};
use super::read::AdapterFile;
use super::weight_change::{WeightChange, kind, length, matrices, rank, scale, size};
use crate::error::{Error, Result};
use crate::models::adapter::{AdapterModule, Change, Matrix};
use rayon::prelude::*;
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::Path;

/// See the module's documentation.
#[derive(Debug, Clone, Serialize)]
pub struct Inspection {
    /// The file.
    pub path: String,
    /// Its size.
    pub bytes: u64,
    /// Who wrote it, as far as the header tells.
    pub made_by: String,
    /// Whose names its layers have.
    pub naming: &'static str,
    /// Kinds of adapters in it.
    pub kinds: Vec<&'static str>,
    /// The release whose sizes it has, if it has those of one.
    pub model: Option<&'static str>,
    /// Numbers of the transformer's adapters.
    pub parameters: usize,
    /// Its modules by block and type.
    pub modules: Vec<ModuleReport>,
    /// Tensors for text encoders, by encoder.
    pub text_encoders: BTreeMap<&'static str, usize>,
    /// Keys and layers that are not known.
    pub unknown: Vec<String>,
    /// What to know before it is used.
    pub warnings: Vec<String>,
    /// How each reader takes it.
    pub readers: Vec<Verdict>,
    /// The header's strings.
    pub metadata: BTreeMap<String, String>,
}

/// One module.
#[derive(Debug, Clone, Serialize)]
pub struct ModuleReport {
    /// diffusers' path.
    pub module: String,
    /// LoRA, DoRA, LoHa, LoKr.
    pub kind: &'static str,
    /// `[out, in]` of the layer.
    pub shape: [usize; 2],
    /// The rank that divides alpha; none for whole Kronecker factors.
    pub rank: Option<usize>,
    /// The scale times the rank.
    pub alpha: f64,
    /// The factor on the product.
    pub scale: f64,
    /// Euclidean norms of the factors, under LyCORIS' names of parts.
    pub norms: Vec<(&'static str, f64)>,
    /// Euclidean norm of the change, magnitudes aside.
    pub delta_norm: f64,
    /// Its part of the sum of squares of all changes.
    pub share: f64,
    /// Over the norm of the layer's weight, where the model is at hand.
    pub relative: Option<f64>,
    /// Numbers.
    pub parameters: usize,
}

/// Looks at the file at `path`, with the model `base` if it is at hand.
///
/// # Errors
/// As [`AdapterFile::read`]; unknown layers and values that are not finite are warnings here.
pub fn inspect(path: &Path, base: Option<&Base>) -> Result<Inspection> {
    let file = AdapterFile::read(path)?;
    let bytes = std::fs::metadata(path).map_err(|e| Error::io(path, &e))?.len();
    if let Some(base) = base {
        base.require_fit(path, &file.modules)?;
    }
    let mut modules =
        file.modules.par_iter().map(|module| report(module, base)).collect::<Result<Vec<ModuleReport>>>()?;
    let total: f64 = modules.iter().map(|module| module.delta_norm.powi(2)).sum();
    for module in &mut modules {
        module.share = if total > 0.0 { module.delta_norm.powi(2) / total } else { 0.0 };
    }
    modules.sort_by_key(|module| place(&module.module));
    let readers = if file.modules.is_empty() {
        Vec::new()
    } else {
        proof::verdicts(path, &file.modules, base, proof::tolerance(super::SaveDtype::F32))?
    };
    let mut kinds: Vec<&'static str> = modules.iter().map(|module| module.kind).collect();
    kinds.sort_unstable();
    kinds.dedup();
    Ok(Inspection {
        path: path.display().to_string(),
        bytes,
        made_by: made_by(&file),
        naming: file.naming,
        kinds,
        model: model(&file.modules),
        parameters: modules.iter().map(|module| module.parameters).sum(),
        warnings: warnings(&file, &modules, &readers),
        modules,
        text_encoders: file.text_encoders.iter().map(|(encoder, keys)| (*encoder, keys.len())).collect(),
        unknown: file.unknown,
        readers,
        metadata: file.metadata,
    })
}

fn report(module: &AdapterModule, base: Option<&Base>) -> Result<ModuleReport> {
    let (outputs, inputs) = size(&module.change);
    let all = matrices(&module.change);
    let delta_norm = norm(&module.change);
    let relative = match base {
        Some(base) => Some(delta_norm / length(&base.weight(&module.module)?)),
        None => None,
    };
    let (rank, scale) = (rank(&module.change), scale(&module.change));
    Ok(ModuleReport {
        module: module.module.clone(),
        kind: kind(module),
        shape: [outputs, inputs],
        rank,
        alpha: scale * rank.unwrap_or(1) as f64,
        scale,
        norms: all.iter().map(|(name, matrix)| (*name, matrix_norm(matrix))).collect(),
        delta_norm,
        share: 0.0,
        relative,
        parameters: all.iter().map(|(_, matrix)| matrix.values.len()).sum::<usize>()
            + module.magnitude.as_ref().map_or(0, Vec::len),
    })
}

fn matrix_norm(matrix: &Matrix) -> f64 {
    matrix.values.iter().map(|&value| f64::from(value).powi(2)).sum::<f64>().sqrt()
}

/// The Euclidean norm of a change. For a pair, ‖BA‖² is the sum of the products of the entries of BᵀB and AAᵀ, and for
/// a Kronecker product the norms multiply.
fn norm(change: &Change) -> f64 {
    match change {
        Change::LowRank { a, b, scale } => {
            let columns_of_a = (0..a.columns).map(|column| a.values[column..].iter().step_by(a.columns));
            let of_a = gram(a.rows, columns_of_a);
            let of_b = gram(b.columns, b.values.chunks(b.columns.max(1)).map(<[f32]>::iter));
            let sum: f64 = of_a.iter().zip(&of_b).map(|(one, other)| one * other).sum();
            scale.abs() * sum.max(0.0).sqrt()
        }
        _ => {
            let change = WeightChange::new(change);
            length(&change.delta(0..change.rows()))
        }
    }
}

/// The sum of `v vᵀ` over vectors of length `size`: its upper triangle, with twice the entries beside the diagonal's
/// root, so that two of them have the product that the whole matrices have.
fn gram<'a>(size: usize, vectors: impl Iterator<Item = impl Iterator<Item = &'a f32>>) -> Vec<f64> {
    let mut sums = vec![0.0; size * size];
    let mut wide: Vec<f64> = Vec::with_capacity(size);
    for vector in vectors {
        wide.clear();
        wide.extend(vector.map(|&value| f64::from(value)));
        for (row, left) in wide.iter().enumerate() {
            let sums = sums[row * size + row..].iter_mut().zip(&wide[row..]);
            sums.for_each(|(sum, right)| *sum += left * right);
        }
    }
    for row in 0..size {
        sums[row * size + row + 1..][..size - row - 1].iter_mut().for_each(|sum| *sum *= 2.0_f64.sqrt());
    }
    sums
}

/// Blocks in their order, then the rest.
fn place(module: &str) -> (usize, String) {
    let block = module.strip_prefix("transformer_blocks.").and_then(|rest| rest.split_once('.'));
    match block.and_then(|(block, layer)| Some((block.parse().ok()?, layer))) {
        Some((block, layer)) => (block, layer.to_owned()),
        None => (usize::MAX, module.to_owned()),
    }
}

fn model(modules: &[AdapterModule]) -> Option<&'static str> {
    let width = modules.iter().find(|module| module.module.ends_with("attn.to_q")).or(modules.first())?;
    match size(&width.change).1 {
        1536 => Some("SD3.5 Medium"),
        2432 => Some("SD3.5 Large"),
        _ => None,
    }
}

/// The trainer, told by what it puts into headers.
fn made_by(file: &AdapterFile) -> String {
    let says = |key: &str| file.metadata.get(key).map(String::as_str);
    let software = says("software").unwrap_or("");
    if says("sargent").is_some() {
        "sargent".to_owned()
    } else if file.metadata.keys().any(|key| key.starts_with("ot_")) {
        "OneTrainer".to_owned()
    } else if software.contains("ai-toolkit") {
        "ai-toolkit".to_owned()
    } else if let Some(module) = says("ss_network_module") {
        format!("kohya's sd-scripts ({module})")
    } else if says("lycoris_config").is_some() {
        "LyCORIS, as SimpleTuner saves it".to_owned()
    } else if says("lora_adapter_metadata").is_some() {
        "diffusers or SimpleTuner".to_owned()
    } else {
        "not stated".to_owned()
    }
}

fn warnings(file: &AdapterFile, modules: &[ModuleReport], readers: &[Verdict]) -> Vec<String> {
    let mut warnings = Vec::new();
    let mut warn = |text: String| warnings.push(text);
    if let Some(first) = file.not_finite.first() {
        let count = file.not_finite.len();
        warn(format!(
            "{count} tensors hold NaN or infinite values, the first `{first}`: the training diverged"
        ));
    }
    for (encoder, keys) in &file.text_encoders {
        warn(format!("{} tensors change {encoder}: `export` and `sample` leave them out", keys.len()));
    }
    if !file.unknown.is_empty() {
        let listed: Vec<&str> = file.unknown.iter().take(5).map(String::as_str).collect();
        let more = if file.unknown.len() > 5 { ", ..." } else { "" };
        warn(format!("{} keys are not known: {}{more}", file.unknown.len(), listed.join(", ")));
    }
    if file.is_split_qkv() {
        warn(
            "kohya trained q, k and v apart (split_qkv) and wrote their alpha unchanged: every reader applies a third \
             of what was trained there; `export --as-trained` restores it"
                .to_owned(),
        );
    }
    if file.is_for_comfyui_alone() {
        warn(
            "its magnitudes were made for ComfyUI and one model: other readers scale rows to wrong lengths"
                .to_owned(),
        );
    }
    let nothing = modules.iter().filter(|module| module.delta_norm == 0.0).count();
    if nothing > 0 {
        warn(format!("{nothing} of {} modules change nothing", modules.len()));
    }
    for reader in readers.iter().filter(|reader| reader.refusal.is_none() && !reader.holds) {
        let [least, most] = reader.strength;
        let missing = reader.modules - reader.matched;
        let mut text = format!("{}: ", reader.reader);
        if missing > 0 {
            text += &format!("ignores {missing} of {} modules; ", reader.modules);
        }
        if (least - most).abs() < 1e-6 {
            let what = if missing > 0 { "the rest" } else { "it" };
            text += &format!("applies {what} at strength {least:.3}");
        } else {
            text += &format!("applies modules at strengths from {least:.3} to {most:.3}");
        }
        warn(text);
    }
    warnings
}
