//! Activations and sums.

use crate::autograd::{Derivation, Program};
use crate::error::Result;
use crate::kernels::Update;
use crate::kernels::activation::{Activate, ActivateGradient, Activation};
use crate::kernels::add::Add;
use crate::tensor::TensorId;

/// f(x).
pub fn activate(program: &mut Program, name: &str, activation: Activation, x: TensorId) -> Result<TensorId> {
    let y = like(program, name, x);
    program.launch(Activate { activation, x, y })?;
    Ok(y)
}

/// a + b.
pub fn add(program: &mut Program, name: &str, a: TensorId, b: TensorId) -> Result<TensorId> {
    let to = like(program, name, a);
    program.launch(Add { a: Update { from: Some(a), to }, b })?;
    Ok(to)
}

/// An arena tensor with the shape of `x`.
pub(crate) fn like(program: &mut Program, name: &str, x: TensorId) -> TensorId {
    let shape = program.tensors[x.index()].shape.clone();
    program.activation(name, shape)
}

pub(super) fn derivative(node: &Activate, d: &mut Derivation<'_>) -> Result<()> {
    let dy = d.expect_gradient(node.y)?;
    let dx = d.accumulate(node.x);
    d.launch(ActivateGradient { activation: node.activation, x: node.x, dy, dx })
}

pub(super) fn add_derivative(node: &Add, d: &mut Derivation<'_>) -> Result<()> {
    let dsum = d.expect_gradient(node.a.to)?;
    let addends = node.a.from.into_iter().chain([node.b]).filter(|&id| d.needs(id));
    for addend in addends.collect::<Vec<_>>() {
        d.pass(addend, dsum)?;
    }
    Ok(())
}
