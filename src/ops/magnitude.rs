//! DoRA's magnitudes: the scale of every output of a layer.

use crate::autograd::program::Retention;
use crate::autograd::{Derivation, Program};
use crate::error::Result;
use crate::kernels::magnitude::{LowRankChange, MagnitudeGradient, MagnitudeScale};
use crate::tensor::TensorId;
use std::ops::Range;

/// `[rows]`: m over the lengths of the rows of `weight`, changed. Every policy keeps it: it is small, and its norms
/// cost a product as large as the change.
pub fn magnitude_scale(
    program: &mut Program,
    name: &str,
    (weight, rows): (TensorId, Range<usize>),
    change: Option<LowRankChange>,
    magnitude: TensorId,
) -> Result<TensorId> {
    let norm = program.activation(format!("{name} norm"), [rows.len()]);
    let scale = program.activation(format!("{name} scale"), [rows.len()]);
    program.launch(MagnitudeScale { weight, rows, change, magnitude, norm, scale })?;
    [norm, scale].into_iter().for_each(|id| program.retain(id, Retention::Always));
    Ok(scale)
}

/// The norm counts as a constant, so magnitudes alone have a gradient.
pub(super) fn derivative(node: &MagnitudeScale, d: &mut Derivation<'_>) -> Result<()> {
    let dscale = d.expect_gradient(node.scale)?;
    if !d.needs(node.magnitude) {
        return Ok(());
    }
    let dmagnitude = d.accumulate(node.magnitude);
    d.launch(MagnitudeGradient { dscale, norm: node.norm, dmagnitude })
}
