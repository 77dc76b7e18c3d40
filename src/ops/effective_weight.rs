//! Effective weights: the frozen weight with the change of an adapter that is no low-rank pair.

use crate::autograd::{Derivation, Program};
use crate::error::Result;
use crate::kernels::Shapes;
use crate::kernels::effective_weight::{EffectiveWeight, EffectiveWeightGradient, Factor, Join};
use crate::tensor::TensorId;
use std::ops::Range;

/// What changes a weight.
#[derive(Debug, Clone, Copy)]
pub struct Change {
    /// How the factors make a change.
    pub join: Join,
    /// The factors.
    pub factors: [Factor<TensorId>; 2],
    /// alpha / rank.
    pub scale: f32,
}

/// `[rows, in]`: the rows of `weight` `[out, in]`, changed. No policy keeps them for the backward pass: together they
/// are as large as the model, and each is made in a fraction of the time of the product that it is for.
pub fn effective_weight(
    program: &mut Program,
    name: &str,
    (weight, rows): (TensorId, Range<usize>),
    change: &Change,
) -> Result<TensorId> {
    let columns = program.shape(weight).columns();
    let to = program.activation(name, [rows.len(), columns]);
    let Change { join, factors, scale } = *change;
    program.launch(EffectiveWeight { weight, rows, join, factors, scale, to })?;
    program.forget(to);
    Ok(to)
}

pub(super) fn derivative(node: &EffectiveWeight, d: &mut Derivation<'_>) -> Result<()> {
    let dw = d.expect_gradient(node.to)?;
    let mut gradients = |factor: &Factor<TensorId>| match *factor {
        Factor::Whole(matrix) => Factor::Whole(d.accumulate(matrix)),
        Factor::Product(a, b) => Factor::Product(d.accumulate(a), d.accumulate(b)),
    };
    let gradients = [gradients(&node.factors[0]), gradients(&node.factors[1])];
    let EffectiveWeight { join, factors, scale, .. } = *node;
    d.launch(EffectiveWeightGradient { join, factors, scale, dw, gradients })
}
