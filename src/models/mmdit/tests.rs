//! The transformer against the reference stack's outputs and gradients.

use crate::autograd::persistent::Flat;
use crate::autograd::recompute::{self, Recompute};
use crate::autograd::run::Planned;
use crate::autograd::{Engine, Persistent, Program, derive};
use crate::device::cpu::Cpu;
use crate::kernels::step_state;
use crate::models::adapter::{Adapters, Targets, select};
use crate::models::mmdit::{
    MmditConfig, ModulationVectors, TransformerInputs, positions, record_modulation, record_transformer,
};
use crate::models::weight_source::ModelWeights;
use crate::ops;
use crate::weights::{TensorFile, WeightMap, open_mmdit};
use std::path::{Path, PathBuf};

fn golden(case: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/golden").join(case)
}

fn relative_error(found: &[f32], expected: &[f32]) -> f64 {
    let difference: f64 = found.iter().zip(expected).map(|(a, b)| f64::from(a - b).powi(2)).sum();
    let norm: f64 = expected.iter().map(|b| f64::from(*b).powi(2)).sum();
    (difference / norm).sqrt()
}

fn open(case: &str, file: &str) -> TensorFile {
    TensorFile::open(&golden(case).join(file)).unwrap()
}

fn weights(case: &str) -> WeightMap {
    let single = golden(case).join("sd3.5_medium_mini.safetensors");
    open_mmdit(&if single.exists() {
        single
    } else {
        golden(case).join("diffusion_pytorch_model.safetensors")
    })
    .unwrap()
}

/// Modulation vectors of a batch, in the order of [`ModulationVectors::all`].
fn modulate(weights: &WeightMap, config: &MmditConfig, timesteps: &[f32], pooled: &[f32]) -> Vec<Vec<f32>> {
    let (adapters, persistent) = (Adapters::default(), Persistent::new(1));
    let mut program = Program::new();
    let rows = timesteps.len();
    let (inputs, vectors) = record_modulation(&mut program, config, &adapters, &persistent, rows).unwrap();
    let mut engine = Engine::new(Cpu::new(), 0, persistent);
    let planned = engine.plan(program);
    engine.reserve(&planned);
    engine.load_weights(&planned.program, &ModelWeights(weights)).unwrap();
    engine.write(&planned, inputs.timesteps, timesteps).unwrap();
    engine.write(&planned, inputs.pooled, pooled).unwrap();
    engine.run(&planned).unwrap();
    vectors.all().map(|id| engine.read(&planned, id).unwrap().to_vec()).collect()
}

#[test]
fn both_models_predict_what_diffusers_predicts() {
    for case in ["mmdit_large", "mmdit_medium"] {
        let weights = weights(case);
        let config = MmditConfig::from_weights(&weights).unwrap();
        let (inputs, expected) = (open(case, "inputs.safetensors"), open(case, "output.safetensors"));
        let latents = inputs.view("latents").unwrap().shape.to_vec();
        let tokens = inputs.view("prompt_embeds").unwrap().shape[1];
        let (adapters, persistent) = (Adapters::default(), Persistent::new(1));
        let mut program = Program::new();
        let batch = latents[0];
        let given = TransformerInputs {
            latents: program.input("latents", latents.clone()),
            prompt_embeds: program.input("prompt_embeds", [batch, tokens, config.context_width]),
            positions: program.input("positions", [latents[2] / 2 * (latents[3] / 2), config.width]),
            modulation: ModulationVectors::inputs(&mut program, &config, batch),
        };
        let out = record_transformer(&mut program, &config, &adapters, &persistent, &given).unwrap();
        program.output(out);
        let read = |name: &str| inputs.read_f32(name).unwrap();
        let vectors = modulate(&weights, &config, &read("timesteps"), &read("pooled_prompt_embeds"));
        let mut engine = Engine::new(Cpu::new(), 0, persistent);
        let planned = engine.plan(program);
        engine.reserve(&planned);
        engine.load_weights(&planned.program, &ModelWeights(&weights)).unwrap();
        engine.write(&planned, given.latents, &read("latents")).unwrap();
        engine.write(&planned, given.prompt_embeds, &read("prompt_embeds")).unwrap();
        let table = positions::read(&weights, &config, latents[2], latents[3]).unwrap();
        engine.write(&planned, given.positions, &table).unwrap();
        for (id, values) in given.modulation.all().zip(&vectors) {
            engine.write(&planned, id, values).unwrap();
        }
        engine.run(&planned).unwrap();
        let error =
            relative_error(engine.read(&planned, out).unwrap(), &expected.read_f32("output").unwrap());
        assert!(error < 2e-5, "{case}: {error}");
    }
}

/// A step with given noise, its gradients under one policy, and the planned bytes.
fn gradients(policy: Recompute) -> (Vec<(String, Vec<f32>)>, usize, f32) {
    let (case, base) = ("lora_grads_large", "mmdit_large");
    let weights = weights(base);
    let config = MmditConfig::from_weights(&weights).unwrap();
    let inputs = open(case, "inputs.safetensors");
    let adapter = open(case, "adapter.safetensors");
    let read = |name: &str| inputs.read_f32(name).unwrap();
    let latents = inputs.view("latents").unwrap().shape.to_vec();
    let tokens = inputs.view("prompt_embeds").unwrap().shape[1];
    let batch = latents[0];
    let adapters = Adapters::new(select(&config, &Targets::Diffusers).unwrap(), 4, 8.0, 0.0);
    let mut persistent = Persistent::new(batch);
    adapters.declare(&mut persistent);
    let mut program = Program::new();
    let state = persistent.step_state(&mut program, batch);
    let (clean, noise) = (program.input("clean", latents.clone()), program.input("noise", latents.clone()));
    let noised = ops::flow::noise_latents(&mut program, clean, noise, state).unwrap();
    let given = TransformerInputs {
        latents: noised.noisy,
        prompt_embeds: program.input("prompt_embeds", [batch, tokens, config.context_width]),
        positions: program.input("positions", [latents[2] / 2 * (latents[3] / 2), config.width]),
        modulation: ModulationVectors::inputs(&mut program, &config, batch),
    };
    let prediction = record_transformer(&mut program, &config, &adapters, &persistent, &given).unwrap();
    let seed = ops::flow::velocity_loss(&mut program, prediction, noised.velocity, state).unwrap();
    let names: Vec<String> = persistent.parameters().iter().map(|parameter| parameter.name.clone()).collect();
    let sinks: Vec<_> = names
        .iter()
        .filter_map(|name| {
            let parameter = persistent.tensor(&mut program, name, Flat::Parameters)?;
            Some((parameter, persistent.tensor(&mut program, name, Flat::Gradients)?))
        })
        .collect();
    derive::derive(&mut program, &[(prediction, seed)], &sinks, &[], ops::derivative).unwrap();
    recompute::apply(&mut program, policy);
    let mut engine = Engine::new(Cpu::new(), 0, persistent.clone());
    let planned: Planned = engine.plan(program);
    engine.reserve(&planned);
    engine.load_weights(&planned.program, &ModelWeights(&weights)).unwrap();
    for parameter in persistent.parameters() {
        let values = adapter.read_f32(&parameter.name).unwrap();
        let flat = engine.flat_mut(Flat::Parameters).unwrap();
        flat[parameter.offset..][..values.len()].copy_from_slice(&values);
    }
    let state = engine.step_state_mut(batch);
    step_state::header_mut(state).sample_weight = 1.0 / batch as f32;
    let samples =
        step_state::samples_mut(state).iter_mut().zip(read("sigmas").into_iter().zip(read("weights")));
    samples.for_each(|(sample, (sigma, weight))| (sample.sigma, sample.loss_weight) = (sigma, weight));
    let vectors = modulate(&weights, &config, &read("timesteps"), &read("pooled_prompt_embeds"));
    engine.write(&planned, clean, &read("latents")).unwrap();
    engine.write(&planned, noise, &read("noise")).unwrap();
    engine.write(&planned, given.prompt_embeds, &read("prompt_embeds")).unwrap();
    let table = positions::read(&weights, &config, latents[2], latents[3]).unwrap();
    engine.write(&planned, given.positions, &table).unwrap();
    for (id, values) in given.modulation.all().zip(&vectors) {
        engine.write(&planned, id, values).unwrap();
    }
    engine.run(&planned).unwrap();
    let losses = step_state::samples(engine.step_state(batch)).iter().map(|sample| sample.loss);
    let loss = losses.sum::<f32>() / batch as f32;
    let found =
        names.iter().map(|name| (name.clone(), engine.parameter(name, Flat::Gradients).unwrap().to_vec()));
    (found.collect(), planned.plan.bytes, loss)
}

#[test]
fn every_policy_gives_the_reference_gradients_to_the_last_bit() {
    let expected = open("lora_grads_large", "grads.safetensors");
    let (first, _, loss) = gradients(Recompute::Store);
    let golden_loss = open("lora_grads_large", "outputs.safetensors").read_f32("loss").unwrap()[0];
    assert!((loss - golden_loss).abs() / golden_loss < 1e-6, "loss {loss}, expected {golden_loss}");
    for (name, gradient) in &first {
        let expected = expected.read_f32(name).unwrap();
        if expected.iter().all(|value| *value == 0.0) {
            assert!(gradient.iter().all(|value| *value == 0.0), "{name} must have no gradient");
        } else {
            let error = relative_error(gradient, &expected);
            assert!(error < 2e-5, "{name}: {error}");
        }
    }
    for policy in Recompute::ALL {
        let (again, _, _) = gradients(policy);
        assert!(again == first, "{} changes numbers", policy.name());
    }
}
