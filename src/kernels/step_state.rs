//! What varies from step to step, in one small buffer that every kernel of a step reads.
//!
//! Recorded programs hold no step number, rate, noise level or random counter, so one program (and later one
//! captured graph) serves every step.

use bytemuck::{Pod, Zeroable};

/// The part of the step state that all samples share.
#[derive(Debug, Clone, Copy, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub struct StepHeader {
    /// Seed of the run, low and high word.
    pub seed: [u32; 2],
    /// Optimizer step, from 1.
    pub step: u32,
    /// Position of the micro-batch's first sample among the step's samples.
    pub first_sample: u32,
    /// Learning rate of this step.
    pub learning_rate: f32,
    /// 1 - beta1^step.
    pub bias_correction1: f32,
    /// 1 - beta2^step.
    pub bias_correction2: f32,
    /// What the loss of one sample counts for: 1 / samples of the whole step.
    pub sample_weight: f32,
    /// Norm that gradients are clipped to; 0 leaves them alone.
    pub max_gradient_norm: f32,
    /// Written by the gradient norm kernel: the norm before clipping.
    pub gradient_norm: f32,
    /// Written by the gradient norm kernel: what gradients are multiplied by.
    pub clip_factor: f32,
    /// Share of the old average that the moving average keeps.
    pub ema_decay: f32,
    /// To a multiple of 64 bytes.
    pub reserved: [u32; 4],
}

/// One sample's part of the step state.
#[derive(Debug, Clone, Copy, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub struct SampleState {
    /// Noise level in [0, 1].
    pub sigma: f32,
    /// Weight of its loss (1 for the plain flow-matching loss).
    pub loss_weight: f32,
    /// Written by the loss kernel: the sample's weighted loss.
    pub loss: f32,
    /// To 16 bytes.
    pub reserved: u32,
}

/// 32-bit words of a header.
pub const HEADER_WORDS: usize = size_of::<StepHeader>() / 4;
/// 32-bit words of a sample's part.
pub const SAMPLE_WORDS: usize = size_of::<SampleState>() / 4;

/// 32-bit words of the step state for `samples` samples.
pub const fn words(samples: usize) -> usize {
    HEADER_WORDS + samples * SAMPLE_WORDS
}

/// The header in a step state.
pub fn header(state: &[f32]) -> &StepHeader {
    bytemuck::from_bytes(bytemuck::cast_slice(&state[..HEADER_WORDS]))
}

/// The header in a step state, to write.
pub fn header_mut(state: &mut [f32]) -> &mut StepHeader {
    bytemuck::from_bytes_mut(bytemuck::cast_slice_mut(&mut state[..HEADER_WORDS]))
}

/// The samples in a step state.
pub fn samples(state: &[f32]) -> &[SampleState] {
    bytemuck::cast_slice(&state[HEADER_WORDS..])
}

/// The samples in a step state, to write.
pub fn samples_mut(state: &mut [f32]) -> &mut [SampleState] {
    bytemuck::cast_slice_mut(&mut state[HEADER_WORDS..])
}
