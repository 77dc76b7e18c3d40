//! The model that an adapter belongs to: its layers by diffusers' names, and their weights when they are needed.

use super::weight_change::size;
use crate::error::{Error, Result};
use crate::models::adapter::{AdapterModule, Module, modules};
use crate::models::mmdit::MmditConfig;
use crate::weights::{FileRows, Weight, WeightMap, open_mmdit};
use std::ops::Range;
use std::path::{Path, PathBuf};

/// See the module's documentation.
#[derive(Debug)]
pub struct Base {
    /// The file or folder that was named.
    pub path: PathBuf,
    /// Its sizes.
    pub config: MmditConfig,
    /// Its linear layers.
    pub layers: Vec<Module>,
    weights: WeightMap,
}

impl Base {
    /// The model at `path`: a diffusers folder, its transformer's folder, or a single file. No weight is read.
    pub fn open(path: &Path) -> Result<Self> {
        let transformer = path.join("transformer");
        let weights = open_mmdit(if transformer.is_dir() { &transformer } else { path })?;
        let config = MmditConfig::from_weights(&weights)?;
        let layers = modules(&config);
        Ok(Self { path: path.to_owned(), config, layers, weights })
    }

    /// The layer that diffusers calls `path`.
    pub fn layer(&self, path: &str) -> Option<&Module> {
        self.layers.iter().find(|layer| layer.path == path)
    }

    /// That every one of `modules` is for a layer of this model and of its size; `file` is where they come from.
    pub fn require_fit(&self, file: &Path, modules: &[AdapterModule]) -> Result<()> {
        let wrong = |cause: String| {
            Err(Error::weights(file, cause).hint(format!(
                "the LoRA was made for another model than {} ({})",
                self.path.display(),
                self.config.release()
            )))
        };
        for module in modules {
            let Some(layer) = self.layer(&module.module) else {
                return wrong(format!("the model has no layer `{}`", module.module));
            };
            let (outputs, inputs) = size(&module.change);
            if (outputs, inputs) != (layer.rows.len(), layer.inputs) {
                return wrong(format!(
                    "`{}` is for a layer of {inputs} to {outputs}, the model's is {} to {}",
                    module.module,
                    layer.inputs,
                    layer.rows.len()
                ));
            }
        }
        Ok(())
    }

    /// The weight of the layer that diffusers calls `path`, `[out, in]` in diffusers' row order.
    pub fn weight(&self, path: &str) -> Result<Vec<f64>> {
        let Some(layer) = self.layer(path) else {
            let cause = format!("the model has no layer `{path}`");
            return Err(Error::weights(&self.path, cause).hint("the LoRA was made for another model"));
        };
        let mut rows = self.canonical_rows(&layer.weight, layer.rows.clone())?;
        if layer.halves_swapped {
            let half = rows.len() / 2;
            rows.rotate_left(half);
        }
        Ok(rows)
    }

    /// Where the rows of the weight with the canonical name `weight` (without `.weight`) lie in the files.
    pub(super) fn file_rows(&self, weight: &str) -> Result<&[FileRows]> {
        Ok(&self.weights.get(&format!("{weight}.weight"))?.rows)
    }

    /// Rows of the weight with the canonical name `weight` (without `.weight`).
    pub fn canonical_rows(&self, weight: &str, rows: Range<usize>) -> Result<Vec<f64>> {
        let weight: &Weight = self.weights.get(&format!("{weight}.weight"))?;
        let columns = weight.elements() / weight.row_count().max(1);
        let mut values = vec![0.0_f32; rows.len() * columns];
        weight.read_rows_f32(rows, &mut values)?;
        Ok(values.into_iter().map(f64::from).collect())
    }
}

/// The rows of the layer in diffusers' order that are the rows `rows` of its weight, of which none crosses the layer's
/// middle.
pub(super) fn own_rows(layer: &Module, rows: &Range<usize>) -> Range<usize> {
    rows_of_change(&layer.rows, layer.halves_swapped, rows)
}

/// Which rows of a change are the rows `rows` of a weight, if the change is of the rows `all` and has their halves in
/// the opposite order where `swapped`; none of `rows` crosses the middle.
pub(super) fn rows_of_change(all: &Range<usize>, swapped: bool, rows: &Range<usize>) -> Range<usize> {
    let (first, half) = (rows.start - all.start, all.len() / 2);
    let start = match swapped {
        false => first,
        true if first < half => first + all.len() - half,
        true => first - half,
    };
    start..start + rows.len()
}
