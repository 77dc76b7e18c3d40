//! What varies from step to step, in one small buffer that every kernel of a step reads.
//!
//! Recorded programs hold no step number, rate, noise level or random counter, so one program (and later one
//! captured graph) serves every step.

pub use crate::kernels::parameters::{SampleState, StepHeader};

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
