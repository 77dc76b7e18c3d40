//! The loss and its gradients: of every adapter, and of every input.

use super::case::{Case, Of, Tensors, computes_in_f32, device};
use super::checks::Checks;
use crate::transformer::{Model, record, set_parameters, weights_file};
use sargent::autograd::derive::derive;
use sargent::autograd::persistent::Flat;
use sargent::autograd::{Engine, Persistent, Program};
use sargent::error::Result;
use sargent::kernels::step_state;
use sargent::kernels::velocity_loss::Negate;
use sargent::models::adapter::{Adapters, Targets, select};
use sargent::ops::{self, flow};
use sargent::train::step::gradient_sinks;

/// The model that a case is about.
pub fn base_model(case: &Case) -> Result<Model> {
    let base = case.value(&["hyper", "base"])?.as_str().unwrap_or_default();
    Model::open(&weights_file(&case.path(base))?)
}

/// The adapters that a case is about.
pub fn adapters(case: &Case, checks: &mut Checks, model: &Model) -> Result<Adapters> {
    let modules = select(&model.config, &Targets::Named(case.strings(&["hyper", "targets"])?))?;
    let rank = case.count(&["hyper", "rank"])?;
    let adapters = Adapters::new(modules, rank, case.number(&["hyper", "alpha"])?, 0.0);
    let scaling = case.number(&["hyper", "scaling"])?;
    checks.holds("scaling", adapters.all.iter().all(|adapter| (adapter.scale - scaling).abs() < 1e-12));
    Ok(adapters)
}

pub fn check(case: &Case, checks: &mut Checks) -> Result<()> {
    let model = base_model(case)?;
    let adapters = adapters(case, checks, &model)?;
    let (adapter, inputs, outputs) =
        (case.tensors("adapter")?, case.tensors("inputs")?, case.tensors("outputs")?);
    let shape = inputs.shape("latents")?;
    let samples = shape[0];

    let mut persistent = Persistent::new(samples);
    adapters.declare(&mut persistent);
    let mut ours: Vec<&str> = persistent.parameters().iter().map(|p| p.name.as_str()).collect();
    ours.sort_unstable();
    checks.holds("every target has an adapter", ours.iter().copied().eq(adapter.names()));

    let mut program = Program::new();
    let latents = program.input("latents", shape.clone());
    let noise = program.input("noise", shape.clone());
    let state = persistent.step_state(&mut program, samples);
    let noised = flow::noise_latents(&mut program, latents, noise, state)?;
    let tokens = inputs.shape("prompt_embeds")?[1];
    let (given, prediction) =
        record(&model.config, &mut program, (&adapters, &persistent), noised.noisy, tokens)?;
    let dprediction = flow::velocity_loss(&mut program, prediction, noised.velocity, state)?;
    // The loss sees only the difference of prediction and target.
    let dvelocity = program.activation("d velocity", shape.clone());
    program.launch(Negate { x: dprediction, y: dvelocity })?;
    let sinks = gradient_sinks(&mut program, &persistent);
    let wanted = [
        ("grad_latents", latents),
        ("grad_noisy_latents", noised.noisy),
        ("grad_prompt_embeds", given.prompt_embeds),
        ("grad_pooled_prompt_embeds", given.pooled),
    ];
    let seeds = [(prediction, dprediction), (noised.velocity, dvelocity)];
    let gradients = derive(&mut program, &seeds, &sinks, &wanted.map(|(_, id)| id), ops::derivative)?;
    [prediction, dprediction, noised.noisy].into_iter().for_each(|id| program.output(id));

    let size = (shape[2], shape[3]);
    let (mut engine, planned) = model.engine(device()?, program, persistent, given.positions, size)?;
    set_parameters(&mut engine, |name| adapter.f32(name))?;
    set_levels(&mut engine, &inputs, samples)?;
    for (id, name) in [
        (latents, "latents"),
        (noise, "noise"),
        (given.prompt_embeds, "prompt_embeds"),
        (given.timesteps, "timesteps"),
        (given.pooled, "pooled_prompt_embeds"),
    ] {
        engine.write(&planned, id, &inputs.f32(name)?)?;
    }
    engine.run(&planned)?;

    let losses = step_state::samples(engine.step_state(samples)?).iter().map(|sample| f64::from(sample.loss));
    let loss = losses.sum::<f64>() / samples as f64;
    checks.close("loss", &[loss], &outputs.f32("loss")?, case.tolerance(&["loss"], Of::Loss)?);
    let computed =
        [("model_pred", prediction), ("noisy_latents", noised.noisy), ("grad_model_pred", dprediction)];
    let asked = wanted.iter().zip(gradients).filter_map(|(&(name, _), id)| Some((name, id?)));
    let found: Vec<_> = computed.into_iter().chain(asked).collect();
    for name in outputs.names().filter(|name| *name != "loss") {
        match found.iter().find(|(found, _)| *found == name) {
            Some(&(_, id)) => {
                checks.close(
                    name,
                    &engine.read(&planned, id)?,
                    &outputs.f32(name)?,
                    case.tolerance(&[name], kind(name))?,
                );
            }
            None => checks.fail(name, "this was not computed"),
        }
    }
    check_adapter_gradients(case, checks, &engine)
}

fn kind(name: &str) -> Of {
    if name.starts_with("grad_") { Of::Gradient } else { Of::Output }
}

/// Noise levels and loss weights of the samples.
fn set_levels(engine: &mut Engine, inputs: &Tensors, samples: usize) -> Result<()> {
    let levels = inputs.f32("sigmas")?.into_iter().zip(inputs.f32("weights")?);
    engine.change_step_state(samples, |state| {
        step_state::header_mut(state).sample_weight = 1.0 / samples as f32;
        for (sample, (sigma, weight)) in step_state::samples_mut(state).iter_mut().zip(levels) {
            (sample.sigma, sample.loss_weight) = (sigma, weight);
        }
    })
}

/// The gradient of every adapter; of some it must be exactly zero.
fn check_adapter_gradients(case: &Case, checks: &mut Checks, engine: &Engine) -> Result<()> {
    let expected = case.tensors("grads")?;
    let (zeros, limit) = (case.exact_zeros(&["grads"]), case.tolerance(&["grads"], Of::Gradient)?);
    let (mut all_ours, mut all_expected) = (Vec::new(), Vec::new());
    for name in expected.names() {
        let Some(gradient) = engine.parameter(name, Flat::Gradients)? else {
            checks.fail(&format!("gradient of {name}"), "there is no such parameter");
            continue;
        };
        if zeros.iter().any(|zero| zero == name) {
            checks.zero(&format!("gradient of {name}"), &gradient);
            continue;
        }
        let expected = expected.f32(name)?;
        if computes_in_f32() {
            checks.close(&format!("gradient of {name}"), &gradient, &expected, limit);
        }
        all_ours.extend(gradient);
        all_expected.extend(expected);
    }
    // What the case knows of bf16 is the error of all gradients together, as one vector.
    checks.close("all gradients", &all_ours, &all_expected, limit);
    Ok(())
}
