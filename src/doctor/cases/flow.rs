//! Flow matching's inputs, their gradient, and the loss.

use super::optimizer::header;
use crate::doctor::{Case, Recorder};
use crate::error::Result;
use crate::kernels::Update;
use crate::kernels::flow::FlowNoisingGradient;
use crate::kernels::step_state::SampleState;
use crate::ops::flow;
use crate::tensor::TensorId;

/// Several samples, and sizes around those of a vector and of a block.
const SMALL: [[usize; 4]; 8] = [
    [1, 1, 1, 1],
    [2, 1, 1, 7],
    [3, 3, 5, 17],
    [2, 4, 8, 8],
    [1, 1, 1, 257],
    [4, 16, 8, 8],
    [2, 1, 1, 4096],
    [2, 1, 1, 4099],
];
/// Latents of two pictures of 1024 x 1024 pixels.
const REAL: [usize; 4] = [2, 16, 128, 128];
/// What f32 arithmetic leaves.
const EXACT: f64 = 1e-6;

/// The case of every shape.
fn cases(kernel: &'static str, record: fn(&mut Recorder, [usize; 4]) -> Result<()>) -> Vec<Case> {
    let small = SMALL.into_iter().map(|shape| {
        Case::small(kernel, format!("{shape:?}"), move |recorder| record(recorder, shape)).within(EXACT)
    });
    let real = Case::real(kernel, "1024.b2", move |recorder| record(recorder, REAL)).within(EXACT);
    small.chain([real]).collect()
}

/// The step state of some samples.
fn state(recorder: &mut Recorder, samples: usize) -> TensorId {
    let sample = |index: usize| SampleState {
        sigma: (index as f32 + 0.5) / samples as f32,
        loss_weight: 1.0 + index as f32,
        loss: 0.0,
        reserved: 0,
    };
    recorder.step_state(header(), (0..samples).map(sample).collect())
}

/// Clean latents.
pub fn sample_latents_cases() -> Vec<Case> {
    cases("sample_latents", |recorder, shape| {
        let state = state(recorder, shape[0]);
        let mean = recorder.normal("mean", shape, 1.0);
        // Some beyond the bounds that they are clamped to.
        let logvar = recorder.normal("logvar", shape, 12.0);
        let latents = flow::sample_latents(&mut recorder.program, (mean, logvar), (0.0609, 1.5305), state)?;
        recorder.output(latents);
        Ok(())
    })
}

/// Noise.
pub fn draw_noise_cases() -> Vec<Case> {
    cases("draw_noise", |recorder, shape| {
        let state = state(recorder, shape[0]);
        let latents = recorder.normal("latents", shape, 1.0);
        let noise = flow::draw_noise(&mut recorder.program, latents, state)?;
        recorder.output(noise);
        Ok(())
    })
}

/// Noisy latents and velocity, and the gradient through them: of both, of one, on top of another.
pub fn noising_cases() -> Vec<Case> {
    cases("flow_noising", |recorder, shape| {
        let state = state(recorder, shape[0]);
        let [latents, noise] = ["latents", "noise"].map(|name| recorder.normal(name, shape, 1.0));
        let noised = flow::noise_latents(&mut recorder.program, latents, noise, state)?;
        recorder.output(noised.noisy);
        recorder.output(noised.velocity);
        let mut from = None;
        for (dnoisy, dvelocity) in [(Some(noise), None), (None, Some(latents)), (Some(latents), Some(noise))]
        {
            let dlatents = Update { from, to: recorder.program.activation("dlatents", shape) };
            recorder.program.launch(FlowNoisingGradient { state, dnoisy, dvelocity, dlatents })?;
            recorder.output(dlatents.to);
            from = Some(dlatents.to);
        }
        Ok(())
    })
}

/// The loss and its gradient, and the velocity's.
pub fn velocity_loss_cases() -> Vec<Case> {
    cases("velocity_loss", |recorder, shape| {
        let state = state(recorder, shape[0]);
        let [prediction, velocity] = ["prediction", "velocity"].map(|name| recorder.normal(name, shape, 1.0));
        let program = &mut recorder.program;
        let gradient = flow::velocity_loss(program, prediction, velocity, state)?;
        let negative = program.activation("negative", shape);
        program.launch(crate::kernels::velocity_loss::Negate { x: gradient, y: negative })?;
        recorder.output(gradient);
        recorder.output(negative);
        recorder.output_step_state();
        Ok(())
    })
}
