//! Reads the adapter files of the common trainers into one form: split and ordered as in the diffusers layout.

mod factors;
mod keys;
mod metadata;
mod split;

use super::layers::{self, Layer};
use super::weight_change::{rank, scale, with_scale};
use super::write;
use crate::error::{Error, Result};
use crate::models::adapter::AdapterModule;
use crate::tensor::DType;
use crate::weights::TensorFile;
use keys::{Group, Role, Sorted};
use metadata::Stated;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// How many names an error lists.
const LISTED: usize = 5;

/// Everything that a file holds.
#[derive(Debug, Clone)]
pub struct AdapterFile {
    /// The file.
    pub path: PathBuf,
    /// The changes of the transformer's layers, sorted by name.
    pub modules: Vec<AdapterModule>,
    /// Tensors that belong to text encoders, by encoder; they are not read.
    pub text_encoders: BTreeMap<&'static str, Vec<String>>,
    /// Keys and layers that SD3.5 or this program does not know.
    pub unknown: Vec<String>,
    /// Keys of tensors with values that are NaN or infinite.
    pub not_finite: Vec<String>,
    /// Whose way of naming layers the file follows.
    pub naming: &'static str,
    /// The element type of all its weights, if they have one in common.
    pub dtype: Option<DType>,
    /// Modules whose layer is fused in the file (q, k and v as one).
    pub fused: usize,
    /// The header's strings.
    pub metadata: BTreeMap<String, String>,
}

impl AdapterFile {
    /// Reads the file at `path`.
    ///
    /// The scale comes from an `.alpha` tensor, else from PEFT's metadata (in the header, or in an
    /// `adapter_config.json` beside a file of PEFT's own), else it is 1.
    ///
    /// # Errors
    /// Not a safetensors file; no adapter in it, or one of a kind that is not supported; a factor without its
    /// partner; wrong shapes. Unknown layers and values that are not finite are listed, see [`Self::require_whole`].
    pub fn read(path: &Path) -> Result<Self> {
        let file = open(path)?;
        let sorted = keys::sort(&file)?;
        let stated = Stated::of(&file)?;
        let mut read = Self {
            path: path.to_owned(),
            modules: Vec::new(),
            text_encoders: sorted.text_encoders.clone(),
            unknown: sorted.unknown.clone(),
            not_finite: Vec::new(),
            naming: naming(&sorted),
            dtype: common_dtype(&file, &sorted),
            fused: 0,
            metadata: file.metadata().clone(),
        };
        let mut modules = BTreeMap::new();
        for (name, group) in &sorted.groups {
            let Some(layer) = layers::find(name) else {
                read.unknown.push(name.clone());
                continue;
            };
            for module in read.layer(&file, name, group, &layer, stated.as_ref())? {
                if let Some(twice) = modules.insert(module.module.clone(), module) {
                    let cause = format!("it holds two adapters for `{}`", twice.module);
                    return Err(
                        Error::weights(path, cause).hint("the file is made of two; keep the layers of one")
                    );
                }
            }
        }
        read.unknown.sort();
        read.modules = modules.into_values().collect();
        Ok(read)
    }

    /// The modules of one group: one, or several whose weights are fused in the file.
    fn layer(
        &mut self,
        file: &TensorFile,
        name: &str,
        group: &Group,
        layer: &Layer,
        stated: Option<&Stated>,
    ) -> Result<Vec<AdapterModule>> {
        let read = factors::read(file, name, group)?;
        self.not_finite.extend(read.not_finite);
        let change = read.change;
        let scale = match (read.alpha, stated) {
            (Some(alpha), _) => rank(&change).map_or(1.0, |rank| alpha / rank as f64),
            (None, Some(stated)) => stated.scale(file.path(), &layer.modules, &change)?,
            (None, None) => 1.0,
        };
        self.fused += usize::from(layer.modules.len() > 1);
        split::into_modules(file.path(), name, layer, with_scale(change, scale), read.magnitude)
    }

    /// Whether its magnitudes are those that ComfyUI needs with one model, which are not the adapter's own.
    pub fn is_for_comfyui_alone(&self) -> bool {
        self.metadata.contains_key(write::MAGNITUDES_FOR_COMFYUI)
    }

    /// Whether kohya's trainer had q, k and v apart: it then writes a rank of three times and the alpha of one.
    pub fn is_split_qkv(&self) -> bool {
        let arguments = self.metadata.get("ss_network_args").map(String::as_str).unwrap_or("");
        let compact: String = arguments.chars().filter(|c| !c.is_whitespace()).collect();
        self.fused > 0 && compact.to_lowercase().contains(r#""split_qkv":"true""#)
    }

    /// Gives the modules of q, k and v the strength that they were trained at, where [`Self::is_split_qkv`].
    pub fn restore_split_qkv(&mut self) {
        if self.is_split_qkv() {
            let of_three = self.modules.iter_mut().filter(|module| layers::is_part_of_three(&module.module));
            of_three.for_each(|module| {
                let tripled = 3.0 * scale(&module.change);
                module.change = with_scale(module.change.clone(), tripled);
            });
        }
    }

    /// The file itself, if everything in it that bears on the transformer has been understood.
    ///
    /// # Errors
    /// Names layers that SD3.5 lacks, and values that are not finite; magnitudes that were made for ComfyUI alone.
    pub fn require_whole(self) -> Result<Self> {
        if !self.unknown.is_empty() {
            return Err(unknown_modules(&self.path, &self.unknown));
        }
        if let Some(key) = self.not_finite.first() {
            return Err(Error::tensor(&self.path, key, "it holds values that are NaN or infinite")
                .hint("the training that made this file diverged; use an earlier checkpoint"));
        }
        if self.is_for_comfyui_alone() {
            return Err(Error::weights(&self.path, "its magnitudes were made for ComfyUI and one model")
                .hint("use the file that it was exported from"));
        }
        if self.modules.is_empty() {
            let encoders: Vec<&str> = self.text_encoders.keys().copied().collect();
            let cause = format!("it changes {} and no layer of the transformer", encoders.join(", "));
            return Err(Error::weights(&self.path, cause).hint("a LoRA of the transformer is needed"));
        }
        Ok(self)
    }
}

/// How many tensors of the file at `path` belong to which text encoder.
///
/// # Errors
/// As [`AdapterFile::read`]; no tensor is read.
pub fn text_encoders(path: &Path) -> Result<BTreeMap<&'static str, usize>> {
    let file = open(path)?;
    let sorted = keys::sort(&file)?;
    Ok(sorted.text_encoders.iter().map(|(encoder, keys)| (*encoder, keys.len())).collect())
}

/// The file at `path`, mapped.
pub(super) fn open(path: &Path) -> Result<TensorFile> {
    std::fs::metadata(path).map_err(|e| Error::io(path, &e))?;
    TensorFile::open(path).map_err(|e| {
        Error::weights(path, format!("not a whole safetensors file ({})", e.cause))
            .hint("download or export the LoRA again")
    })
}

/// The element type of all tensors but alphas.
fn common_dtype(file: &TensorFile, sorted: &Sorted) -> Option<DType> {
    let parts = sorted.groups.values().flatten().filter(|(role, _)| **role != Role::Alpha);
    let mut types: Vec<DType> = parts.filter_map(|(_, key)| Some(file.view(key).ok()?.dtype)).collect();
    types.dedup();
    match types.as_slice() {
        [one] => Some(*one),
        _ => None,
    }
}

/// The way of naming that most layers follow.
fn naming(sorted: &Sorted) -> &'static str {
    let mut counts: BTreeMap<&'static str, usize> = BTreeMap::new();
    for name in sorted.groups.keys() {
        *counts.entry(layers::naming(name).unwrap_or("no prefix")).or_default() += 1;
    }
    counts.into_iter().max_by_key(|(_, count)| *count).map_or("no prefix", |(naming, _)| naming)
}

fn unknown_modules(path: &Path, names: &[String]) -> Error {
    let listed: Vec<String> = names.iter().take(LISTED).map(|name| format!("`{name}`")).collect();
    let more = names.len().saturating_sub(LISTED);
    let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
    Error::weights(
        path,
        format!("layers that SD3.5's transformer does not have: {}{rest}", listed.join(", ")),
    )
    .hint("the LoRA may be for another model; `sargent inspect` lists what is in it")
}
