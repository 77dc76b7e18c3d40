//! From a layer of the single-file layout to those of diffusers: fused projections are cut into their parts, and the
//! halves of the final modulations trade places.

use crate::error::{Error, Result};
use crate::export::layers::Layer;
use crate::export::low_rank;
use crate::export::rows::{self, swap_halves};
use crate::export::weight_change::size;
use crate::models::adapter::{AdapterModule, Change};
use std::path::Path;

/// The modules of the layer `name`, whose rows are equal parts of the change's, in order.
///
/// # Errors
/// Rows that do not split into equal parts; a Kronecker product whose halves cannot trade places.
pub(super) fn into_modules(
    path: &Path,
    name: &str,
    layer: &Layer,
    change: Change,
    magnitude: Option<Vec<f32>>,
) -> Result<Vec<AdapterModule>> {
    let (outputs, inputs) = size(&change);
    let parts = layer.modules.len();
    let swaps = layer.swaps_halves(inputs, outputs);
    if !outputs.is_multiple_of(if swaps { 2 } else { parts }) {
        let cause = format!("the {outputs} rows of the adapter `{name}` do not split into equal parts");
        return Err(Error::weights(path, cause).hint("the LoRA is damaged or for another model"));
    }
    let (change, magnitude) = if swaps {
        let half = |mut values: Vec<f32>| {
            values.rotate_left(outputs / 2);
            values
        };
        (swap_halves(change), magnitude.map(half))
    } else {
        (change, magnitude)
    };
    if parts == 1 {
        let module = layer.modules.first().cloned().unwrap_or_default();
        return Ok(vec![AdapterModule { module, change, magnitude }]);
    }
    let height = outputs / parts;
    let part = |(index, module): (usize, &String)| AdapterModule {
        module: module.clone(),
        change: low_rank::without_unused(rows::take(&change, index * height..(index + 1) * height)),
        magnitude: magnitude.as_ref().map(|all| all[index * height..(index + 1) * height].to_vec()),
    };
    Ok(layer.modules.iter().enumerate().map(part).collect())
}
