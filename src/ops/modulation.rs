//! What modulation vectors do: norm and modulate, gate and add.

use crate::autograd::{Derivation, Program};
use crate::error::Result;
use crate::kernels::Update;
use crate::kernels::gated_residual::{Gate, GateGradient, GatedResidual, GatedResidualGradient};
use crate::kernels::layer_norm::{
    LayerNormModulate, LayerNormModulateGradient, Modulation, ModulationGradient,
};
use crate::ops::activation::like;
use crate::tensor::TensorId;

/// LN(x) (1 + scale) + shift.
pub fn layer_norm_modulate(
    program: &mut Program,
    name: &str,
    x: TensorId,
    modulation: Modulation,
) -> Result<TensorId> {
    let y = like(program, name, x);
    program.launch(LayerNormModulate { x, modulation, y })?;
    Ok(y)
}

/// x + gate * y; what is added to an f32 stream is one.
pub fn gated_residual(
    program: &mut Program,
    name: &str,
    x: TensorId,
    gate: Gate,
    y: TensorId,
) -> Result<TensorId> {
    let to = like(program, name, x);
    if program.tensors[x.index()].exact {
        program.mark_exact(to);
    }
    program.launch(GatedResidual { gate, y, x: Update { from: Some(x), to } })?;
    Ok(to)
}

pub(super) fn layer_norm_derivative(node: &LayerNormModulate, d: &mut Derivation<'_>) -> Result<()> {
    let (x, modulation, dy) = (node.x, node.modulation, d.expect_gradient(node.y)?);
    if d.needs(modulation.vectors) {
        let dvectors = d.accumulate(modulation.vectors);
        d.launch(ModulationGradient { x, modulation, dy, dvectors })?;
    }
    if d.needs(x) {
        let dx = d.accumulate(x);
        d.launch(LayerNormModulateGradient { x, modulation, dy, dx })?;
    }
    Ok(())
}

pub(super) fn gated_residual_derivative(node: &GatedResidual, d: &mut Derivation<'_>) -> Result<()> {
    let (gate, y, dx) = (node.gate, node.y, d.expect_gradient(node.x.to)?);
    if d.needs(gate.vectors) {
        let dvectors = d.accumulate(gate.vectors);
        d.launch(GateGradient { gate, y, dx, dvectors })?;
    }
    if d.needs(y) {
        let dy = d.like(y);
        d.launch(GatedResidualGradient { gate, dx, dy })?;
        d.pass(y, dy)?;
    }
    match node.x.from {
        Some(x) if d.needs(x) => d.pass(x, dx),
        _ => Ok(()),
    }
}
