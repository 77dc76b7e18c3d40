//! An adapter file in another form: read, written, and proven.

use super::base::Base;
use super::proof::{self, Verdict};
use super::read::AdapterFile;
use super::resize;
use super::weight_change::{rank, scale};
use super::write::{self, Alpha, Form, Request, SaveDtype};
use crate::error::{Error, Result};
use crate::models::adapter::AdapterModule;
use crate::tensor::DType;
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What to make.
#[derive(Debug, Clone, Copy)]
pub struct Conversion<'a> {
    /// The form.
    pub form: Form,
    /// Element type; that of the source if nothing is lost by it, else f32, if `None`.
    pub dtype: Option<SaveDtype>,
    /// Where alpha goes; the form's usual place if `None`.
    pub alpha: Option<Alpha>,
    /// Low-rank pairs of this rank at most, the nearest there are.
    pub resize: Option<usize>,
    /// The model, for magnitudes and sizes.
    pub base: Option<&'a Base>,
}

/// What was made.
#[derive(Debug, Clone, Serialize)]
pub struct Converted {
    /// The file.
    pub path: PathBuf,
    /// Its form.
    pub form: &'static str,
    /// Its element type.
    pub dtype: String,
    /// Modules in it.
    pub modules: usize,
    /// The largest part of a module's change that was lost by `resize`, and whose it is.
    pub resized: Option<(f64, String)>,
    /// Tensors of text encoders in the source, which are left out.
    pub left_out: BTreeMap<&'static str, usize>,
    /// How each reader takes it.
    pub readers: Vec<Verdict>,
}

/// Writes `file` to `out` as `conversion` says and reads it back by every reader's rules.
///
/// # Errors
/// Those of [`write::write`]; an `out` that is the source.
pub fn convert(file: &AdapterFile, out: &Path, conversion: &Conversion<'_>) -> Result<Converted> {
    let same = |path: &Path| path.canonicalize().ok();
    if same(out).is_some() && same(out) == same(&file.path) {
        return Err(Error::usage("the result would replace its own source").hint("choose another --out"));
    }
    if let Some(base) = conversion.base {
        base.require_fit(&file.path, &file.modules)?;
    }
    let mut resized = None;
    let mut modules = file.modules.clone();
    if let Some(rank) = conversion.resize {
        resized = Some(resize_all(&mut modules, rank));
    }
    let alpha = conversion.alpha.unwrap_or(conversion.form.usual_alpha());
    let dtype = match conversion.dtype {
        Some(dtype) => dtype,
        None if conversion.resize.is_some() => SaveDtype::F32,
        None => lossless(file, alpha),
    };
    let about = about(file);
    let request =
        Request { form: conversion.form, dtype, alpha: Some(alpha), about: &about, base: conversion.base };
    write::write(out, &modules, &request)?;
    let mut readers = proof::prove(out, &modules, conversion.form, dtype, conversion.base)?;
    if alpha == Alpha::Metadata {
        // Whoever asks for this gives up the readers that look at tensors alone.
        readers.iter_mut().for_each(|reader| reader.meant &= proof::reads_header(reader.reader));
    }
    Ok(Converted {
        path: out.to_owned(),
        form: conversion.form.name(),
        dtype: dtype.dtype().to_string(),
        modules: modules.len(),
        resized,
        left_out: file.text_encoders.iter().map(|(encoder, keys)| (*encoder, keys.len())).collect(),
        readers,
    })
}

impl Converted {
    /// The readers that the file is meant for and that would not do with it what the adapter does.
    pub fn broken(&self) -> impl Iterator<Item = &Verdict> {
        self.readers.iter().filter(|reader| reader.meant && !reader.holds && reader.unchecked == 0)
    }
}

fn resize_all(modules: &mut [AdapterModule], rank_at_most: usize) -> (f64, String) {
    let mut worst = (0.0, String::new());
    for module in modules {
        let is_small = matches!(module.change, crate::models::adapter::Change::LowRank { .. })
            && rank(&module.change).is_some_and(|rank| rank <= rank_at_most);
        if is_small {
            continue;
        }
        let (small, off) = resize::resized(module, rank_at_most);
        *module = small;
        if off >= worst.0 {
            worst = (off, module.module.clone());
        }
    }
    worst
}

/// The source's element type if no number has to be multiplied by anything but a power of two, else f32.
fn lossless(file: &AdapterFile, alpha: Alpha) -> SaveDtype {
    let is_power_of_two = |value: f64| value != 0.0 && value.to_bits().trailing_zeros() >= 52;
    let is_kept = |module: &AdapterModule| alpha != Alpha::Folded || is_power_of_two(scale(&module.change));
    let magnitudes = file.modules.iter().any(|module| module.magnitude.is_some());
    match file.dtype {
        Some(DType::Bf16) if !magnitudes && file.modules.iter().all(is_kept) => SaveDtype::Bf16,
        Some(DType::F16) if !magnitudes && file.modules.iter().all(is_kept) => SaveDtype::F16,
        _ => SaveDtype::F32,
    }
}

/// What the header says about where the file comes from.
fn about(file: &AdapterFile) -> Value {
    let name = file.path.file_name().map(|name| name.to_string_lossy().into_owned());
    let settings = file.metadata.get("sargent").and_then(|text| serde_json::from_str::<Value>(text).ok());
    match settings {
        Some(settings) => json!({ "exported_from": name, "settings": settings }),
        None => json!({ "exported_from": name }),
    }
}
