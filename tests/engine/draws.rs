//! Draws inside a step: latents from their distribution and noise, by the counters of the step state.

use super::values::normals;
use crate::recording::Recording;
use bytemuck::Zeroable;
use sargent::device::cpu::Cpu;
use sargent::kernels::step_state::{SampleState, StepHeader};
use sargent::ops::flow;
use sargent::random::{Purpose, Stream};

const SHAPE: [usize; 4] = [2, 3, 2, 2];
const SAMPLE: usize = 12;
const SHIFT_AND_SCALE: (f32, f32) = (0.25, 1.5);

/// Latents and noise of a micro-batch that starts at `first_sample`.
fn draw(first_sample: u32, mean: &[f32], logvar: &[f32]) -> (Vec<f32>, Vec<f32>) {
    let mut recording = Recording::default();
    let header = StepHeader { seed: [9, 1], step: 4, first_sample, ..StepHeader::zeroed() };
    let state = recording.step_state(header, vec![SampleState::zeroed(); SHAPE[0]]);
    let distribution = (recording.input("mean", SHAPE, mean), recording.input("logvar", SHAPE, logvar));
    let program = &mut recording.program;
    let latents = flow::sample_latents(program, distribution, SHIFT_AND_SCALE, state).unwrap();
    let noise = flow::draw_noise(program, latents, state).unwrap();
    let ran = recording.run(Cpu::new(), &[latents, noise]).unwrap();
    (ran.read(latents).unwrap(), ran.read(noise).unwrap())
}

#[test]
fn latents_and_noise_follow_their_counters() {
    let mean = normals("mean", 2 * SAMPLE);
    // Log-variances beyond what the reference allows are held to its bounds.
    let mut logvar = normals("logvar", 2 * SAMPLE);
    (logvar[0], logvar[1]) = (-80.0, 25.0);
    let (latents, noise) = draw(6, &mean, &logvar);
    for sample in 0..2 {
        let stream = |purpose| Stream::new(9 | (1 << 32), purpose, 0, 4, 6 + sample as u32);
        for element in 0..SAMPLE {
            let i = sample * SAMPLE + element;
            let deviation = (0.5 * f64::from(logvar[i]).clamp(-30.0, 20.0)).exp();
            let drawn = f64::from(mean[i]) + deviation * f64::from(stream(Purpose::Latent).normal(element));
            let (shift, scale) = SHIFT_AND_SCALE;
            let expected = (drawn - f64::from(shift)) * f64::from(scale);
            assert!((f64::from(latents[i]) - expected).abs() <= 1e-6 * (1.0 + expected.abs()), "latent {i}");
            assert_eq!(noise[i], stream(Purpose::Noise).normal(element), "noise {i}");
        }
    }
}

/// How a batch is cut into micro-batches does not matter.
#[test]
fn draws_belong_to_samples_not_to_micro_batches() {
    let (mean, logvar) = (vec![0.0; 2 * SAMPLE], vec![0.0; 2 * SAMPLE]);
    let (whole, later) = (draw(0, &mean, &logvar), draw(1, &mean, &logvar));
    assert_eq!(whole.0[SAMPLE..], later.0[..SAMPLE]);
    assert_eq!(whole.1[SAMPLE..], later.1[..SAMPLE]);
}
