//! Whole training runs: losses, norms, rates and weights of every step, and the file that comes out.

use super::case::{Case, Of, Tensors, computes_in_f32, device};
use super::checks::{Checks, cosine, norm};
use super::lora_grads::{adapters, base_model};
use super::schedules::learning_rate;
use crate::transformer::{Model, Modulator, Question, set_parameters};
use sargent::autograd::derive::derive;
use sargent::autograd::persistent::Flat;
use sargent::autograd::run::Planned;
use sargent::autograd::{Engine, Persistent, Program};
use sargent::diffusion::density::schedule_index;
use sargent::diffusion::sigmas::{timestep, training_sigmas};
use sargent::error::{Error, Result};
use sargent::export::read_adapters;
use sargent::kernels::adamw::{AdamWSettings, Form};
use sargent::kernels::step_state;
use sargent::models::adapter::{AdapterModule, Adapters, load};
use sargent::models::mmdit::{ModulationVectors, TransformerInputs, record_transformer};
use sargent::ops::{self, flow};
use sargent::optimizer::schedule::LearningRate;
use sargent::tensor::TensorId;
use sargent::train::optimize;
use sargent::train::step::gradient_sinks;
use sargent::weights::{TensorBytes, TensorFile, write_tensors};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;

/// Limits where the case recommends none.
const DATA_LIMIT: f64 = 1e-6;
const STATE_LIMIT: f64 = 1e-3;
const LOADED_LIMIT: f64 = 2e-5;
/// What the cosine between ours and theirs may lack to 1.
const MOVED_LIMIT: f64 = 0.02;

/// The shift of the table that the data's indices point into.
const SHIFT: f64 = 3.0;

pub fn check(case: &Case, checks: &mut Checks) -> Result<()> {
    let data = case.tensors("data")?;
    check_data(checks, &data)?;
    let model = base_model(case)?;
    let adapters = adapters(case, checks, &model)?;
    for name in case.names(&["hyper", "runs"])? {
        let run = Run { case, name, data: &data, model: &model, adapters: &adapters };
        run.check(checks)?;
    }
    check_loaded(case, checks, &model)
}

/// Noise levels are those of the training table at the indices drawn.
fn check_data(checks: &mut Checks, data: &Tensors) -> Result<()> {
    let indices: Vec<usize> = data.f32("u")?.into_iter().map(schedule_index).collect();
    let expected = data.i64("schedule_indices")?;
    checks.holds("schedule indices", expected.into_iter().eq(indices.iter().map(|&index| index as i64)));
    let table = training_sigmas(SHIFT);
    let sigmas: Vec<f64> = indices.iter().map(|&index| table[index]).collect();
    checks.close("sigmas", &sigmas, &data.f32("sigmas")?, DATA_LIMIT);
    let times: Vec<f32> = data.f32("sigmas")?.into_iter().map(|sigma| timestep(f64::from(sigma))).collect();
    checks.close("timesteps", &times, &data.f32("timesteps")?, DATA_LIMIT);
    Ok(())
}

/// One of the case's runs.
struct Run<'a> {
    case: &'a Case,
    name: &'a str,
    data: &'a Tensors,
    model: &'a Model,
    adapters: &'a Adapters,
}

/// What a step reports.
struct StepReport {
    micro_losses: Vec<f64>,
    norm: f64,
    clip_factor: f64,
}

impl Run<'_> {
    fn check(&self, checks: &mut Checks) -> Result<()> {
        let groups: Vec<Vec<usize>> =
            serde_json::from_value(self.case.value(&["hyper", "runs", self.name, "micro"])?.clone())
                .map_err(|e| Error::usage(format!("micro-batches of run {}: {e}", self.name)))?;
        let rates = self.rates()?;
        let initial = self.case.tensors("initial_adapter")?;
        let mut trainer = Trainer::new(self)?;
        set_parameters(&mut trainer.engine, |name| initial.f32(name))?;
        for (step, group) in groups.iter().enumerate() {
            let rate = rates.at(step as u64);
            let report = trainer.step(self, step, group, rate)?;
            self.check_step(checks, step, &report, rate, &trainer.engine)?;
        }
        self.check_final(checks, &initial, &trainer.engine)
    }

    fn rates(&self) -> Result<LearningRate> {
        let number = |key: &str| self.case.number(&["hyper", "runs", self.name, "lr", key]);
        let (warmup, total) = (number("num_warmup_steps")? as u64, number("num_training_steps")? as u64);
        let about = self.case.value(&["hyper", "runs", self.name, "lr"])?;
        learning_rate(about, self.case.number(&["hyper", "lr"])?, warmup, total, 0.0)
    }

    fn tolerance(&self, name: &str, of: Of) -> Result<f64> {
        self.case.tolerance(&[self.name, name], of)
    }

    fn check_step(
        &self,
        checks: &mut Checks,
        step: usize,
        report: &StepReport,
        rate: f64,
        engine: &Engine,
    ) -> Result<()> {
        let about = self.case.list(&["results", self.name])?.get(step);
        let about = about.ok_or_else(|| Error::usage(format!("run {} has no step {step}", self.name)))?;
        let expected = |key: &str| about[key].as_f64().unwrap_or(f64::NAN);
        let what = |key: &str| format!("{} step {step} {key}", self.name);
        let micro = report.micro_losses.len() as f64;
        let loss = report.micro_losses.iter().sum::<f64>() / micro;
        let limit = self.tolerance("loss", Of::Loss)?;
        checks.number(&what("loss"), loss, expected("loss"), limit);
        for (index, &loss) in report.micro_losses.iter().enumerate() {
            let expected = about["micro_losses"][index].as_f64().unwrap_or(f64::NAN);
            checks.number(&what(&format!("loss of micro-batch {index}")), loss, expected, limit);
        }
        checks.number(&what("lr"), rate, expected("lr"), self.tolerance("lr", Of::Exact)?);
        let limit = self.tolerance("grad_norm_before_clip", Of::Gradient)?;
        checks.number(&what("gradient norm"), report.norm, expected("grad_norm_before_clip"), limit);
        checks.number(&what("clip factor"), report.clip_factor, expected("clip_factor"), limit);
        let limit = self.tolerance("final_adapter", Of::Output)?;
        for (side, key) in [("lora_A", "norm_all_A_after"), ("lora_B", "norm_all_B_after")] {
            let names = engine.layout().parameters().iter().map(|p| p.name.as_str());
            let mut norms = Vec::new();
            for name in names.filter(|name| name.contains(side)) {
                norms.extend(engine.parameter(name, Flat::Parameters)?.map(|values| norm(&values)));
            }
            checks.number(&what(key), norm(&norms), expected(key), limit);
        }
        Ok(())
    }

    /// Final weights, their distance from the start, and the optimizer states that the case keeps.
    fn check_final(&self, checks: &mut Checks, initial: &Tensors, engine: &Engine) -> Result<()> {
        let plain = self.name == "plain";
        let file =
            if plain { "pytorch_lora_weights".to_owned() } else { format!("{}_final_adapter", self.name) };
        let expected = self.case.tensors(&file)?;
        let zeros = self.case.exact_zeros(&[self.name, "final_adapter"]);
        let limit = self.tolerance("final_adapter", Of::Trained)?;
        let moved_limit = self.tolerance("final_minus_initial", Of::Exact)?;
        let (mut all_ours, mut all_theirs) = (Vec::new(), Vec::new());
        for name in expected.names() {
            let what = format!("{} final {name}", self.name);
            let Some(ours) = engine.parameter(name, Flat::Parameters)? else {
                checks.fail(&what, "there is no such parameter");
                continue;
            };
            let theirs = expected.f32(name)?;
            if zeros.iter().any(|zero| zero == name) {
                checks.zero(&what, &ours);
                continue;
            }
            checks.close(&what, &ours, &theirs, limit);
            // An A whose B never moves has no gradient: weight decay alone moves it, by less than f32 can tell.
            if !zeros.contains(&name.replace("lora_A", "lora_B")) {
                let start = initial.f32(name)?;
                let moved = |end: &[f32]| -> Vec<f64> {
                    end.iter().zip(&start).map(|(end, start)| f64::from(*end) - f64::from(*start)).collect()
                };
                let (ours, theirs) = (moved(&ours), moved(&theirs));
                if computes_in_f32() {
                    checks.close(&format!("{what}, moved"), &ours, &theirs, moved_limit);
                }
                all_ours.extend(ours);
                all_theirs.extend(theirs);
            }
        }
        let off = 1.0 - cosine(&all_ours, &all_theirs);
        checks.within(&format!("{} direction of all that moved", self.name), off, MOVED_LIMIT);
        if !plain {
            return Ok(());
        }
        let states = self.case.tensors("optimizer_state_after_plain")?;
        for state in states.names() {
            let first = state.strip_suffix(".exp_avg").map(|name| (name, Flat::Moment1));
            let second = state.strip_suffix(".exp_avg_sq").map(|name| (name, Flat::Moment2));
            let kept = first.or(second).map(|(name, flat)| engine.parameter(name, flat)).transpose()?;
            // A second moment is made of squares.
            let power = if second.is_some() { 2.0 } else { 1.0 };
            match kept.flatten() {
                Some(ours) => {
                    let limit = (power * Of::Gradient.limit(0.0)).max(STATE_LIMIT);
                    checks.close(state, &ours, &states.f32(state)?, limit)
                }
                None => checks.fail(state, "there is no such state"),
            }
        }
        Ok(())
    }
}

/// The programs of training: one micro-batch and the optimizer's step, with the modulation made beforehand.
struct Trainer {
    engine: Engine,
    modulator: Modulator,
    micro: Planned,
    inputs: MicroInputs,
    optimizer: Planned,
    betas: [f64; 2],
    samples: usize,
}

/// Inputs of a micro-batch.
struct MicroInputs {
    latents: TensorId,
    noise: TensorId,
    prompt_embeds: TensorId,
    positions: TensorId,
    modulation: ModulationVectors,
}

impl Trainer {
    fn new(run: &Run<'_>) -> Result<Self> {
        let (case, model) = (run.case, run.model);
        let samples = run.data.shape("item_indices")?[1];
        let betas = case.numbers(&["hyper", "betas"])?;
        let settings = AdamWSettings {
            form: Form::F32,
            beta1: betas[0],
            beta2: betas[1],
            epsilon: case.number(&["hyper", "eps"])?,
            weight_decay: case.number(&["hyper", "weight_decay"])?,
        };
        let mut layout = Persistent::with_states(samples, Form::F32, false);
        run.adapters.declare(&mut layout);
        let optimizer = optimize::record(&layout, settings, false)?;
        let (micro, inputs) = record_micro_batch(run, &layout, samples)?;
        let size = run.data.shape("latents")?;
        let (engine, micro) = model.engine(device()?, micro, layout, inputs.positions, (size[2], size[3]))?;
        let optimizer = engine.plan(optimizer)?;
        let modulator = model.modulator(device()?, samples)?;
        Ok(Self { engine, modulator, micro, inputs, optimizer, betas: [betas[0], betas[1]], samples })
    }

    /// One optimizer step over the micro-batches of `group`.
    fn step(&mut self, run: &Run<'_>, step: usize, group: &[usize], rate: f64) -> Result<StepReport> {
        self.engine.clear_flat(Flat::Gradients)?;
        let (samples, betas) = (self.samples, self.betas);
        let max_gradient_norm = run.case.number(&["hyper", "max_grad_norm"])? as f32;
        self.engine.change_step_state(samples, |state| {
            let header = step_state::header_mut(state);
            header.step = step as u32 + 1;
            header.learning_rate = rate as f32;
            header.bias_correction1 = (1.0 - betas[0].powi(step as i32 + 1)) as f32;
            header.bias_correction2 = (1.0 - betas[1].powi(step as i32 + 1)) as f32;
            header.sample_weight = 1.0 / (group.len() * samples) as f32;
            header.max_gradient_norm = max_gradient_norm;
        })?;
        let losses = group.iter().map(|&index| self.micro_batch(run, index));
        let micro_losses = losses.collect::<Result<_>>()?;
        self.engine.run(&self.optimizer)?;
        let header = step_state::header(self.engine.step_state(self.samples)?);
        let (norm, clip_factor) = (f64::from(header.gradient_norm), f64::from(header.clip_factor));
        Ok(StepReport { micro_losses, norm, clip_factor })
    }

    /// Adds the gradients of micro-batch `index` and returns its loss.
    fn micro_batch(&mut self, run: &Run<'_>, index: usize) -> Result<f64> {
        let data = run.data;
        let items = data.i64("item_indices")?[index * self.samples..][..self.samples].to_vec();
        let of_items = |name: &str| -> Result<Vec<f32>> {
            Ok(items.iter().map(|&item| row(data, name, item as usize)).collect::<Result<Vec<_>>>()?.concat())
        };
        let (timesteps, pooled) = (row(data, "timesteps", index)?, of_items("pooled_prompt_embeds")?);
        let vectors = self.modulator.vectors(&timesteps, &pooled)?;
        let (inputs, micro) = (&self.inputs, &self.micro);
        for (id, values) in inputs.modulation.all().zip(&vectors) {
            self.engine.write(micro, id, values)?;
        }
        self.engine.write(micro, inputs.latents, &of_items("latents")?)?;
        self.engine.write(micro, inputs.noise, &row(data, "noise", index)?)?;
        self.engine.write(micro, inputs.prompt_embeds, &of_items("prompt_embeds")?)?;
        let sigmas = row(data, "sigmas", index)?;
        self.engine.change_step_state(self.samples, |state| {
            for (state, sigma) in step_state::samples_mut(state).iter_mut().zip(sigmas) {
                (state.sigma, state.loss_weight) = (sigma, 1.0);
            }
        })?;
        self.engine.run(micro)?;
        let states = step_state::samples(self.engine.step_state(self.samples)?);
        Ok(states.iter().map(|state| f64::from(state.loss)).sum::<f64>() / self.samples as f64)
    }
}

/// What a tensor holds at `index` of its first dimension.
fn row(data: &Tensors, name: &str, index: usize) -> Result<Vec<f32>> {
    let (values, rows) = (data.f32(name)?, data.shape(name)?[0]);
    let row = values.len() / rows;
    Ok(values[index * row..][..row].to_vec())
}

/// Noising, transformer, loss and backward pass of `samples` samples.
fn record_micro_batch(run: &Run<'_>, layout: &Persistent, samples: usize) -> Result<(Program, MicroInputs)> {
    let mut shape = run.data.shape("latents")?;
    shape[0] = samples;
    let config = &run.model.config;
    let mut program = Program::new();
    let latents = program.input("latents", shape.clone());
    let noise = program.input("noise", shape.clone());
    let state = layout.step_state(&mut program, samples);
    let noised = flow::noise_latents(&mut program, latents, noise, state)?;
    let tokens = run.data.shape("prompt_embeds")?[1];
    let given = TransformerInputs {
        latents: noised.noisy,
        prompt_embeds: program.input("prompt_embeds", [samples, tokens, config.context_width]),
        positions: program.input("positions", [shape[2] / 2 * (shape[3] / 2), config.width]),
        modulation: ModulationVectors::inputs(&mut program, config, samples),
    };
    let prediction = record_transformer(&mut program, config, run.adapters, layout, &given)?;
    let dprediction = flow::velocity_loss(&mut program, prediction, noised.velocity, state)?;
    let sinks = gradient_sinks(&mut program, layout);
    derive(&mut program, &[(prediction, dprediction)], &sinks, &[], ops::derivative)?;
    let TransformerInputs { prompt_embeds, positions, modulation, .. } = given;
    Ok((program, MicroInputs { latents, noise, prompt_embeds, positions, modulation }))
}

/// What the model predicts without adapter, with the file as it is, and with the file without its metadata.
fn check_loaded(case: &Case, checks: &mut Checks, model: &Model) -> Result<()> {
    let file = case.path("pytorch_lora_weights.safetensors");
    let folder = tempfile::tempdir().map_err(|e| Error::io(&case.folder, &e))?;
    let bare = folder.path().join("bare.safetensors");
    write_without_metadata(&file, &bare)?;
    let expected = case.tensors("loaded_adapter_outputs")?;
    for (name, modules) in [
        ("base", Vec::new()),
        ("with_metadata", read_adapters(&file)?),
        ("without_metadata", read_adapters(&bare)?),
    ] {
        let ours = predict_with(model, &file, modules, &expected)?;
        checks.close(
            &format!("loaded adapter, {name}"),
            &ours,
            &expected.f32(name)?,
            Of::Output.limit(LOADED_LIMIT),
        );
    }
    Ok(())
}

fn write_without_metadata(file: &Path, bare: &Path) -> Result<()> {
    let file = TensorFile::open(file)?;
    let tensor = |name| {
        let view = file.view(name)?;
        let (shape, bytes) = (view.shape.into(), Cow::Borrowed(view.bytes));
        Ok(TensorBytes { name: Cow::Borrowed(name), dtype: view.dtype, shape, bytes })
    };
    write_tensors(bare, &file.names().map(tensor).collect::<Result<Vec<_>>>()?, &BTreeMap::new())
}

/// The prediction for the probe inputs with the adapters of a file.
fn predict_with(model: &Model, path: &Path, loaded: Vec<AdapterModule>, probe: &Tensors) -> Result<Vec<f32>> {
    let all = load::adapters(&model.config, path, "", &loaded, 1.0)?;
    let adapters = Adapters { all, ..Adapters::default() };
    let (shape, tokens) = (probe.shape("probe_latents")?, probe.shape("probe_prompt_embeds")?[1]);
    let mut predictor = model.predictor(device()?, &adapters, &shape, tokens, &[])?;
    load::write(predictor.engine(), &adapters, &loaded)?;
    predictor.predict(Question {
        latents: &probe.f32("probe_latents")?,
        timesteps: &probe.f32("probe_timesteps")?,
        prompt_embeds: &probe.f32("probe_prompt_embeds")?,
        pooled: &probe.f32("probe_pooled_prompt_embeds")?,
    })
}
