//! Files as plain LoRA pairs, for what knows no other kind.

use super::proof;
use super::read::AdapterFile;
use super::write::{self, Form, Request, SaveDtype};
use crate::error::{Error, Result};
use crate::models::adapter::{AdapterModule, Change, LoraModule, Matrix};
use serde_json::Value;
use std::path::Path;

/// Reads the LoRA at `path`, split and ordered as in the diffusers layout; modules come sorted by name.
///
/// # Errors
/// As [`AdapterFile::read`] and [`AdapterFile::require_whole`]; another kind than LoRA; text encoders in the file.
pub fn read_lora(path: &Path) -> Result<Vec<LoraModule>> {
    let file = AdapterFile::read(path)?.require_whole()?;
    file.modules.into_iter().map(|module| plain(path, module)).collect()
}

/// Writes `modules` to `path` in PEFT's form, alpha folded into B; whole or not at all.
///
/// `settings` holds what changed the weights; it becomes one JSON string in the header under `sargent`.
///
/// # Errors
/// As [`write::write`].
pub fn write_lora(path: &Path, modules: &[LoraModule], dtype: SaveDtype, settings: &Value) -> Result<()> {
    let modules = modules.iter().map(general).collect::<Result<Vec<_>>>()?;
    let request = Request { form: Form::Peft, dtype, alpha: None, about: settings, base: None };
    write::write(path, &modules, &request)
}

/// Reads the file that [`write_lora`] wrote at `path` by the rules of every reader that it is meant for; one line that
/// says how they would take it.
///
/// # Errors
/// A file that cannot be read at all.
pub fn proven(path: &Path, modules: &[LoraModule], dtype: SaveDtype) -> Result<String> {
    let modules = modules.iter().map(general).collect::<Result<Vec<_>>>()?;
    Ok(proof::summary(&proof::prove(path, &modules, Form::Peft, dtype, None)?))
}

/// `module` in the form that holds every kind.
///
/// # Errors
/// Lengths that contradict the rank.
fn general(module: &LoraModule) -> Result<AdapterModule> {
    let rank = module.rank;
    let whole = |length: usize| rank > 0 && length > 0 && length.is_multiple_of(rank);
    if !whole(module.a.len()) || !whole(module.b.len()) {
        let (a, b) = (module.a.len(), module.b.len());
        let cause = format!("A of {a} and B of {b} values do not have rank {rank}");
        return Err(Error::shape(&module.module, cause));
    }
    let a = Matrix { rows: rank, columns: module.in_features(), values: module.a.clone() };
    let b = Matrix { rows: module.out_features(), columns: rank, values: module.b.clone() };
    let change = Change::LowRank { a, b, scale: module.scale };
    Ok(AdapterModule { module: module.module.clone(), change, magnitude: None })
}

fn plain(path: &Path, module: AdapterModule) -> Result<LoraModule> {
    let kind = super::weight_change::kind(&module);
    match module {
        AdapterModule { module, change: Change::LowRank { a, b, scale }, magnitude: None } => {
            Ok(LoraModule { module, rank: a.rows, a: a.values, b: b.values, scale })
        }
        other => {
            let cause = format!("`{}` is a {kind} adapter, which is not supported here", other.module);
            Err(Error::weights(path, cause)
                .hint("`sargent export --to peft --resize RANK` makes a LoRA of it"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn sizes_that_contradict_the_rank_are_refused() {
        let module = |rank, a, b| LoraModule {
            module: "transformer_blocks.0.attn.to_q".into(),
            rank,
            a: vec![0.0; a],
            b: vec![0.0; b],
            scale: 1.0,
        };
        for bad in [module(0, 4, 4), module(3, 4, 6), module(2, 0, 6), module(2, 4, 5)] {
            assert_eq!(general(&bad).unwrap_err().kind, ErrorKind::Shape);
        }
    }
}
