//! Flow matching: noising and the velocity loss.

use crate::autograd::{Derivation, Program, Retention};
use crate::error::Result;
use crate::kernels::Update;
use crate::kernels::flow::{DrawNoise, FlowNoising, FlowNoisingGradient, SampleLatents};
use crate::kernels::velocity_loss::VelocityLoss;
use crate::ops::activation::like;
use crate::tensor::TensorId;

/// Noisy latents and the velocity that leads from them to the noise.
#[derive(Debug, Clone, Copy)]
pub struct Noised {
    /// (1 - sigma) x_0 + sigma eps.
    pub noisy: TensorId,
    /// eps - x_0.
    pub velocity: TensorId,
}

/// A draw from the latent distribution, shifted and scaled as the transformer takes it.
pub fn sample_latents(
    program: &mut Program,
    (mean, logvar): (TensorId, TensorId),
    (shift, scale): (f32, f32),
    state: TensorId,
) -> Result<TensorId> {
    let latents = like(program, "latents", mean);
    program.launch(SampleLatents { mean, logvar, shift, scale, state, latents })?;
    Ok(latents)
}

/// Noise of the shape of `latents`.
pub fn draw_noise(program: &mut Program, latents: TensorId, state: TensorId) -> Result<TensorId> {
    let noise = like(program, "noise", latents);
    program.launch(DrawNoise { state, noise })?;
    Ok(noise)
}

/// Noisy latents and velocity at the noise levels of the step state.
pub fn noise_latents(
    program: &mut Program,
    latents: TensorId,
    noise: TensorId,
    state: TensorId,
) -> Result<Noised> {
    let (noisy, velocity) = (like(program, "noisy latents", latents), like(program, "velocity", latents));
    program.launch(FlowNoising { latents, noise, state, noisy, velocity })?;
    // Whoever runs a program again must find the draws of the forward pass.
    [noisy, velocity].into_iter().for_each(|id| program.retain(id, Retention::Always));
    Ok(Noised { noisy, velocity })
}

/// Writes the losses into the step state and returns the gradient of the prediction, the seed of the backward
/// pass.
pub fn velocity_loss(
    program: &mut Program,
    prediction: TensorId,
    velocity: TensorId,
    state: TensorId,
) -> Result<TensorId> {
    let dprediction = like(program, "d prediction", prediction);
    let state = Update { from: Some(state), to: state };
    program.launch(VelocityLoss { prediction, velocity, state, dprediction })?;
    program.retain(dprediction, Retention::Always);
    Ok(dprediction)
}

pub(super) fn derivative(node: &FlowNoising, d: &mut Derivation<'_>) -> Result<()> {
    let (dnoisy, dvelocity) = (d.gradient(node.noisy), d.gradient(node.velocity));
    let dlatents = d.accumulate(node.latents);
    d.launch(FlowNoisingGradient { state: node.state, dnoisy, dvelocity, dlatents })
}
