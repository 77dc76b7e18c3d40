//! The file that a run writes, and a file of any form as the adapters of a model.

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
    let is_pair = |module: &AdapterModule| matches!(module.change, Change::LowRank { .. });
    let with_magnitudes = modules.iter().filter(|module| module.magnitude.is_some()).count();
    let alike = with_magnitudes == 0 || with_magnitudes == modules.len();
    let form = if alike && modules.iter().all(is_pair) { Form::Peft } else { Form::Lycoris };
    write::write(path, modules, &Request { form, dtype, alpha: None, about: settings, base: None })
}
