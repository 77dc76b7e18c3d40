//! A whole training step of a golden transformer, for tests of what must not change its numbers.

use super::values::normals;
use crate::transformer::{Model, record, set_parameters, weights_file};
use sargent::autograd::derive::derive;
use sargent::autograd::persistent::Flat;
use sargent::autograd::recompute::{self, Recompute};
use sargent::autograd::{Persistent, Program};
use sargent::device::cpu::Cpu;
use sargent::kernels::step_state;
use sargent::models::adapter::{Adapters, Targets, select};
use sargent::models::mmdit::MmditConfig;
use sargent::ops::{self, flow};
use sargent::tensor::TensorId;
use sargent::train::step::gradient_sinks;
use std::path::Path;

/// Noise levels, one a sample.
const SIGMAS: [f32; 2] = [0.3, 0.85];

/// What a step leaves.
#[derive(Debug, PartialEq)]
pub struct StepResult {
    /// The flat gradient buffer.
    pub gradients: Vec<f32>,
    /// Losses, one a sample.
    pub losses: Vec<f32>,
}

/// The model of a golden case.
pub fn golden(case: &str) -> Model {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/golden").join(case);
    Model::open(&weights_file(&folder).unwrap()).unwrap()
}

/// A recorded step: noising, transformer, loss and backward pass of two samples.
pub struct Step {
    /// The program.
    pub program: Program,
    layout: Persistent,
    adapters: Adapters,
    inputs: [(&'static str, TensorId); 4],
    timesteps: TensorId,
    positions: TensorId,
}

/// Records a step of square latents of `side` with adapters on every linear layer, under a recompute policy.
pub fn record_step(config: &MmditConfig, side: usize, policy: Recompute, dropout: f32) -> Step {
    let (samples, tokens) = (SIGMAS.len(), 13);
    let shape = [samples, config.channels, side, side];
    let modules = select(config, &Targets::AllLinear).unwrap();
    let adapters = Adapters::new(modules, 3, 6.0, dropout);
    let mut layout = Persistent::new(samples);
    adapters.declare(&mut layout);
    let mut program = Program::new();
    let latents = program.input("latents", shape);
    let noise = program.input("noise", shape);
    let state = layout.step_state(&mut program, samples);
    let noised = flow::noise_latents(&mut program, latents, noise, state).unwrap();
    let (given, prediction) =
        record(config, &mut program, (&adapters, &layout), noised.noisy, tokens).unwrap();
    let seed = flow::velocity_loss(&mut program, prediction, noised.velocity, state).unwrap();
    let sinks = gradient_sinks(&mut program, &layout);
    derive(&mut program, &[(prediction, seed)], &sinks, &[], ops::derivative).unwrap();
    recompute::apply(&mut program, policy);
    let inputs = [
        ("latents", latents),
        ("noise", noise),
        ("prompt_embeds", given.prompt_embeds),
        ("pooled", given.pooled),
    ];
    Step { program, layout, adapters, inputs, timesteps: given.timesteps, positions: given.positions }
}

/// Runs a step at the largest size that the model's positions allow.
pub fn run(model: &Model, policy: Recompute, dropout: f32) -> StepResult {
    let (samples, side) = (SIGMAS.len(), 2 * model.config.position_size);
    let Step { program, layout, adapters, inputs, timesteps, positions } =
        record_step(&model.config, side, policy, dropout);
    let (mut engine, planned) = model.engine(Cpu::new(), program, layout, positions, (side, side)).unwrap();
    set_parameters(&mut engine, |name| {
        let parameters: Vec<_> = adapters.all.iter().flat_map(|adapter| adapter.parameters()).collect();
        let (_, shape) = parameters.into_iter().find(|(known, _)| name == known).unwrap();
        Ok(normals(name, shape.elements()).into_iter().map(|x| 0.1 * x).collect())
    })
    .unwrap();
    engine
        .change_step_state(samples, |state| {
            let header = step_state::header_mut(state);
            (header.seed, header.step, header.sample_weight) = ([1, 2], 3, 1.0 / samples as f32);
            for (sample, sigma) in step_state::samples_mut(state).iter_mut().zip(SIGMAS) {
                (sample.sigma, sample.loss_weight) = (sigma, 1.0);
            }
        })
        .unwrap();
    for (name, id) in inputs {
        let elements = planned.program.tensors[id.index()].shape.elements();
        engine.write(&planned, id, &normals(name, elements)).unwrap();
    }
    engine.write(&planned, timesteps, &SIGMAS.map(|sigma| 1000.0 * sigma)).unwrap();
    engine.run(&planned).unwrap();
    let state = engine.step_state(samples).unwrap();
    let losses = step_state::samples(state).iter().map(|sample| sample.loss).collect();
    StepResult { gradients: engine.flat(Flat::Gradients).unwrap().unwrap(), losses }
}
