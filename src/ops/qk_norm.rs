//! RMSNorm of queries and keys.

use crate::autograd::{Derivation, Program};
use crate::error::Result;
use crate::kernels::Update;
use crate::kernels::qk_norm::{Part, QkNorm, QkNormGradient, QkNormWeightGradient};
use crate::ops::activation::like;
use crate::tensor::TensorId;

/// qkv with its parts normalised.
pub fn qk_norm(
    program: &mut Program,
    name: &str,
    qkv: TensorId,
    heads: usize,
    parts: Vec<Part>,
) -> Result<TensorId> {
    let to = like(program, name, qkv);
    program.launch(QkNorm { parts, heads, qkv: Update { from: Some(qkv), to } })?;
    Ok(to)
}

pub(super) fn derivative(node: &QkNorm, d: &mut Derivation<'_>) -> Result<()> {
    let Some(qkv) = node.qkv.from else { return Ok(()) };
    let dy = d.expect_gradient(node.qkv.to)?;
    for part in node.parts.iter().filter(|part| d.needs(part.weight)).copied().collect::<Vec<_>>() {
        let dweight = d.accumulate(part.weight);
        d.launch(QkNormWeightGradient { part, heads: node.heads, qkv, dqkv: dy, dweight })?;
    }
    if d.needs(qkv) {
        let to = d.like(qkv);
        let dqkv = Update { from: Some(dy), to };
        d.launch(QkNormGradient { parts: node.parts.clone(), heads: node.heads, qkv, dqkv })?;
        d.pass(qkv, to)?;
    }
    Ok(())
}
