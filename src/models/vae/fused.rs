//! Queries, keys and values of the middle attention as one weight.

use crate::error::{Error, Result};
use crate::weights::{Weight, WeightMap};

/// `weights` with `mid.attn_1.qkv` of encoder and decoder, made of the file rows of q, k and v.
pub fn with_fused_attention(weights: &WeightMap) -> Result<WeightMap> {
    let mut fused = weights.clone();
    for side in ["encoder", "decoder"] {
        for part in ["weight", "bias"] {
            let name = |projection: &str| format!("{side}.mid.attn_1.{projection}.{part}");
            let projections = [weights.get(&name("q"))?, weights.get(&name("k"))?, weights.get(&name("v"))?];
            fused.insert(stacked(name("qkv"), projections, weights)?);
        }
    }
    Ok(fused)
}

/// One weight of the rows of all `parts`, which must be alike.
fn stacked(name: String, parts: [&Weight; 3], weights: &WeightMap) -> Result<Weight> {
    let first = parts[0];
    if let Some(odd) = parts.iter().find(|part| (&part.shape, part.storage) != (&first.shape, first.storage))
    {
        let cause = format!(
            "{} {} is not like `{}`, {} {}",
            odd.storage, odd.shape, first.name, first.storage, first.shape
        );
        return Err(Error::tensor(weights.path(), &odd.name, cause)
            .hint("the file is damaged; copy or download it again"));
    }
    let mut dims = first.shape.dims().to_vec();
    if let Some(rows) = dims.first_mut() {
        *rows *= parts.len();
    }
    let rows = parts.iter().flat_map(|part| part.rows.clone()).collect();
    Ok(Weight { name, shape: dims.into(), rows, ..first.clone() })
}
