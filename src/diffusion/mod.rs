//! Flow matching: noise levels, training densities, the sampler and its initial noise.
//!
//! A latent at noise level sigma is `x = (1 - sigma) * latents + sigma * noise`; the model predicts the velocity
//! `noise - latents`, and its time input is `1000 * sigma`. Sigma 1 is pure noise, sigma 0 the picture.

pub mod density;
pub mod sampler;
pub mod sigmas;
pub mod torch_noise;
