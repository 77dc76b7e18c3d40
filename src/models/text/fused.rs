//! Queries, keys and values as one weight: one product and one read instead of three.

use crate::error::{Error, Result};
use crate::weights::{Weight, WeightMap};

/// Replaces the weights `parts` by one named `name` that is made of their rows, one after another.
///
/// Fails if they differ in shape or dtype.
pub(super) fn fuse(weights: &mut WeightMap, name: String, parts: [String; 3]) -> Result<()> {
    let [first, second, third] = &parts;
    let mut fused = weights.get(first)?.clone();
    for part in [second, third] {
        let part = weights.get(part)?;
        if part.shape != fused.shape || part.storage != fused.storage {
            return Err(unlike(&fused, part));
        }
        fused.rows.extend(part.rows.iter().cloned());
    }
    let mut dims = fused.shape.dims().to_vec();
    if let Some(rows) = dims.first_mut() {
        *rows *= parts.len();
    }
    (fused.name, fused.shape) = (name, dims.into());
    parts.iter().for_each(|part| drop(weights.remove(part)));
    weights.insert(fused);
    Ok(())
}

fn unlike(first: &Weight, other: &Weight) -> Error {
    let about = |weight: &Weight| format!("{} {}", weight.storage, weight.shape);
    let cause = format!("it is {}, but `{}` is {}", about(other), first.name, about(first));
    let hint = "q, k and v must have one shape and one dtype; use another copy of the file";
    match other.rows.first() {
        Some(source) => Error::tensor(source.file.path(), &source.tensor, cause).hint(hint),
        None => Error::new(crate::error::ErrorKind::Weights, &other.name, cause).hint(hint),
    }
}
