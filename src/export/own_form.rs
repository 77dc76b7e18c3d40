//! The file that a run writes, and a file of any form as the adapters of a model.

use super::proof;
use super::read::AdapterFile;
use super::write::{self, Form, Request, SaveDtype};
use crate::error::Result;
use crate::models::adapter::{AdapterModule, Change};
use serde_json::Value;
use std::path::Path;

/// The adapters in the file at `path`, split and ordered as in the diffusers layout, sorted by name.
///
/// # Errors
/// As [`AdapterFile::read`] and [`AdapterFile::require_whole`].
pub fn read_adapters(path: &Path) -> Result<Vec<AdapterModule>> {
    Ok(AdapterFile::read(path)?.require_whole()?.modules)
}

/// Writes `modules` to `path`, whole or not at all: pairs in PEFT's form, alpha folded into B; what PEFT's form has no
/// way to say in LyCORIS'.
///
/// `settings` holds what changed the weights; it becomes one JSON string in the header under `sargent`.
///
/// # Errors
/// As [`write::write`].
pub fn write_adapters(
    path: &Path,
    modules: &[AdapterModule],
    dtype: SaveDtype,
    settings: &Value,
) -> Result<()> {
    let form = form_of(modules);
    write::write(path, modules, &Request { form, dtype, alpha: None, about: settings, base: None })
}

/// Reads the file that [`write_adapters`] wrote at `path` by the rules of every reader that it is meant for; one line
/// that says how they would take it.
///
/// # Errors
/// A file that cannot be read at all.
pub fn proven(path: &Path, modules: &[AdapterModule], dtype: SaveDtype) -> Result<String> {
    Ok(proof::summary(&proof::prove(path, modules, form_of(modules), dtype, None)?))
}

/// The form in which all of `modules` can be said.
fn form_of(modules: &[AdapterModule]) -> Form {
    let is_pair = |module: &AdapterModule| matches!(module.change, Change::LowRank { .. });
    let with_magnitudes = modules.iter().filter(|module| module.magnitude.is_some()).count();
    let alike = with_magnitudes == 0 || with_magnitudes == modules.len();
    if alike && modules.iter().all(is_pair) { Form::Peft } else { Form::Lycoris }
}
