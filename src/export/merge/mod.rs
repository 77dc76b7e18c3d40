//! A model with an adapter merged into its weights: the same files with the same names and element types, each sum
//! made in f64 and rounded once. A stretch of one tensor is in memory at a time.

use super::base::Base;
use super::changes::Changes;
use super::write::{SaveDtype, encode};
use crate::error::{Error, Result};
use crate::models::adapter::AdapterModule;
use crate::tensor::DType;
use crate::weights::{TensorFile, rewrite};
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Rows that are summed at a time.
const STRETCH: usize = 256;

/// What a merge did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Merged {
    /// Layers that changed.
    pub modules: usize,
    /// Tensors of the files that changed.
    pub tensors: usize,
}

/// Writes the model `base` with `strength` times the change of `modules` to `out`: a file for a model in one file, a
/// folder for a folder, whole or not at all.
///
/// # Errors
/// `modules` that do not fit the model; an `out` that is there already or within the model; a sum that is too large
/// for the element type; what the disk says.
pub fn merge(
    base: &Base,
    file: &Path,
    modules: &[AdapterModule],
    strength: f64,
    out: &Path,
) -> Result<Merged> {
    base.require_fit(file, modules)?;
    refuse_existing(base, out)?;
    let plan = Plan::new(base, modules, strength)?;
    if base.path.is_dir() {
        plan.folder(out)?
    } else {
        plan.file(&base.path, out)?
    }
    Ok(Merged { modules: modules.len(), tensors: plan.places.len() })
}

fn refuse_existing(base: &Base, out: &Path) -> Result<()> {
    if out.exists() {
        return Err(Error::usage(format!("{} is there already", out.display())).hint("choose another --out"));
    }
    let is_file = out.extension().is_some_and(|extension| extension == "safetensors");
    if base.path.is_dir() && (is_file || out.starts_with(&base.path)) {
        let cause = format!("{} cannot hold the folder {}", out.display(), base.path.display());
        return Err(Error::usage(cause).hint("choose a folder outside the model for --out"));
    }
    if !base.path.is_dir() && !is_file {
        return Err(Error::usage("a model in one file is merged into one file")
            .hint("choose an --out that ends in .safetensors"));
    }
    Ok(())
}

/// A stretch of a file's tensor that is a stretch of a weight.
struct Place {
    weight: String,
    in_file: Range<usize>,
    first_in_weight: usize,
}

/// What has to be changed where.
struct Plan<'a> {
    base: &'a Base,
    changes: Changes,
    /// By file and tensor.
    places: BTreeMap<(PathBuf, String), Vec<Place>>,
}

impl<'a> Plan<'a> {
    fn new(base: &'a Base, modules: &[AdapterModule], strength: f64) -> Result<Self> {
        let mut changes = Changes::default();
        for module in modules {
            if let Some(layer) = base.layer(&module.module) {
                changes.add(layer, module, strength);
            }
        }
        let mut places: BTreeMap<(PathBuf, String), Vec<Place>> = BTreeMap::new();
        for weight in changes.weights() {
            let mut first_in_weight = 0;
            for rows in base.file_rows(weight)? {
                let here = first_in_weight..first_in_weight + rows.rows.len();
                if changes.touch(weight, &here) {
                    let key = (rows.file.path().to_owned(), rows.tensor.clone());
                    let place =
                        Place { weight: weight.to_owned(), in_file: rows.rows.clone(), first_in_weight };
                    places.entry(key).or_default().push(place);
                }
                first_in_weight = here.end;
            }
        }
        Ok(Self { base, changes, places })
    }

    /// The file `from` with its changes.
    fn file(&self, from: &Path, to: &Path) -> Result<()> {
        let file = TensorFile::open(from)?;
        rewrite(&file, to, |tensor| {
            let key = (from.to_owned(), tensor.to_owned());
            self.places.get(&key).map(|places| self.tensor(&file, tensor, places)).transpose()
        })
    }

    /// A copy of the model's folder whose safetensors files have their changes.
    fn folder(&self, out: &Path) -> Result<()> {
        let beside = out.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        std::fs::create_dir_all(beside).map_err(|e| Error::io(beside, &e))?;
        let writing = tempfile::Builder::new()
            .prefix(".writing-")
            .tempdir_in(beside)
            .map_err(|e| Error::io(beside, &e))?;
        let whole = writing.path().join("model");
        self.copy(&self.base.path, &whole)?;
        std::fs::rename(&whole, out).map_err(|e| Error::io(out, &e))
    }

    fn copy(&self, from: &Path, to: &Path) -> Result<()> {
        std::fs::create_dir_all(to).map_err(|e| Error::io(to, &e))?;
        for entry in std::fs::read_dir(from).map_err(|e| Error::io(from, &e))? {
            let path = entry.map_err(|e| Error::io(from, &e))?.path();
            let Some(name) = path.file_name() else { continue };
            let target = to.join(name);
            if path.is_dir() {
                self.copy(&path, &target)?;
            } else if self.places.keys().any(|(file, _)| *file == path) {
                self.file(&path, &target)?;
            } else {
                std::fs::copy(&path, &target).map_err(|e| Error::io(&target, &e))?;
            }
        }
        Ok(())
    }

    /// The bytes of a changed tensor.
    fn tensor(&self, file: &TensorFile, tensor: &str, places: &[Place]) -> Result<Vec<u8>> {
        let view = file.view(tensor)?;
        let dtype = match view.dtype {
            DType::F32 => SaveDtype::F32,
            DType::F16 => SaveDtype::F16,
            DType::Bf16 => SaveDtype::Bf16,
            other => {
                return Err(Error::tensor(
                    file.path(),
                    tensor,
                    format!("{other} is not a dtype for weights"),
                ));
            }
        };
        let mut bytes = view.bytes.to_vec();
        let row = bytes.len() / view.shape.first().copied().unwrap_or(1).max(1);
        for place in places {
            for start in place.in_file.clone().step_by(STRETCH) {
                let rows = start..(start + STRETCH).min(place.in_file.end);
                let in_weight = start - place.in_file.start + place.first_in_weight;
                let sum = self.sum(&place.weight, in_weight..in_weight + rows.len())?;
                let encoded = encode(sum.into_iter(), dtype).ok_or_else(|| {
                    Error::tensor(file.path(), tensor, format!("the sum does not fit {}", view.dtype))
                        .hint("merge at a lower --strength, or into the model in another element type")
                })?;
                bytes[rows.start * row..rows.end * row].copy_from_slice(&encoded);
            }
        }
        Ok(bytes)
    }

    /// Rows of a weight with all that is added to them.
    fn sum(&self, weight: &str, rows: Range<usize>) -> Result<Vec<f64>> {
        let mut sum = self.base.canonical_rows(weight, rows.clone())?;
        self.changes.apply(weight, &rows, &mut sum);
        Ok(sum)
    }
}

#[cfg(test)]
mod tests;
