//! Latents to patches with positions, and back.

use crate::autograd::{Derivation, Program};
use crate::error::Result;
use crate::kernels::patchify::{Order, Patchify, Unpatchify, patches_shape};
use crate::kernels::positions::AddPositions;
use crate::kernels::{Shapes, Update};
use crate::ops::activation::like;
use crate::tensor::TensorId;

/// Patches `[b, h/2 * w/2, 4 channels]` of latents `[b, channels, h, w]`, features as the model takes them.
pub fn patchify(program: &mut Program, name: &str, latents: TensorId) -> Result<TensorId> {
    let shape = patches_shape(program.shape(latents));
    let patches = program.activation(name, shape);
    program.launch(Patchify { order: Order::ChannelFirst, latents, patches })?;
    Ok(patches)
}

/// Latents of `shape` from patches, features as the model gives them.
pub fn unpatchify(
    program: &mut Program,
    name: &str,
    patches: TensorId,
    shape: [usize; 4],
) -> Result<TensorId> {
    let latents = program.activation(name, shape);
    program.launch(Unpatchify { order: Order::ChannelLast, patches, latents })?;
    Ok(latents)
}

/// x plus every token's position, `[tokens, columns]`.
pub fn add_positions(
    program: &mut Program,
    name: &str,
    x: TensorId,
    positions: TensorId,
) -> Result<TensorId> {
    let to = like(program, name, x);
    program.launch(AddPositions { positions, x: Update { from: Some(x), to } })?;
    Ok(to)
}

pub(super) fn positions_derivative(node: &AddPositions, d: &mut Derivation<'_>) -> Result<()> {
    let dx = d.expect_gradient(node.x.to)?;
    match node.x.from {
        Some(x) if d.needs(x) => d.pass(x, dx),
        _ => Ok(()),
    }
}

pub(super) fn patchify_derivative(node: &Patchify, d: &mut Derivation<'_>) -> Result<()> {
    let patches = d.expect_gradient(node.patches)?;
    let latents = d.like(node.latents);
    d.launch(Unpatchify { order: node.order, patches, latents })?;
    d.pass(node.latents, latents)
}

pub(super) fn unpatchify_derivative(node: &Unpatchify, d: &mut Derivation<'_>) -> Result<()> {
    let latents = d.expect_gradient(node.latents)?;
    let patches = d.like(node.patches);
    d.launch(Patchify { order: node.order, latents, patches })?;
    d.pass(node.patches, patches)
}
