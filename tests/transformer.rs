//! The transformer as golden cases and engine tests run it: a model's folder, a recorded prediction, adapters.

// Every test binary uses a part of this.
#![allow(dead_code)]

use sargent::autograd::persistent::Flat;
use sargent::autograd::run::Planned;
use sargent::autograd::{Engine, Persistent, Program};
use sargent::device::Device;
use sargent::error::{Error, Result};
use sargent::kernels::Shapes;
use sargent::models::adapter::Adapters;
use sargent::models::mmdit::{
    MmditConfig, ModulationInputs, ModulationVectors, TransformerInputs, positions, record_modulation,
    record_transformer,
};
use sargent::models::weight_source::ModelWeights;
use sargent::tensor::TensorId;
use sargent::weights::{WeightMap, open_mmdit};
use std::path::{Path, PathBuf};

/// A transformer's weights and sizes.
pub struct Model {
    /// Its weights.
    pub weights: WeightMap,
    /// Its sizes.
    pub config: MmditConfig,
}

/// Inputs of a recorded prediction, besides the noisy latents.
#[derive(Debug, Clone, Copy)]
pub struct Given {
    /// `[b, text tokens, context width]`.
    pub prompt_embeds: TensorId,
    /// `[h/2 * w/2, width]`.
    pub positions: TensorId,
    /// `[b]`.
    pub timesteps: TensorId,
    /// `[b, pooled width]`.
    pub pooled: TensorId,
}

/// What the model is asked for a batch.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// Noisy latents.
    pub latents: &'a [f32],
    /// 1000 sigma.
    pub timesteps: &'a [f32],
    /// Prompt embeddings.
    pub prompt_embeds: &'a [f32],
    /// Pooled prompt embeddings.
    pub pooled: &'a [f32],
}

/// A planned forward pass with its memory.
pub struct Predictor {
    engine: Engine,
    planned: Planned,
    latents: TensorId,
    given: Given,
    prediction: TensorId,
}

/// The modulation program on an engine of its own.
pub struct Modulator {
    engine: Engine,
    planned: Planned,
    inputs: ModulationInputs,
    outputs: ModulationVectors,
}

/// Records modulation and transformer in one program; returns the other inputs and the velocity.
pub fn record(
    config: &MmditConfig,
    program: &mut Program,
    (adapters, persistent): (&Adapters, &Persistent),
    latents: TensorId,
    text_tokens: usize,
) -> Result<(Given, TensorId)> {
    let dims = program.shape(latents).dims().to_vec();
    let batch = dims[0];
    let (asked, modulation) = record_modulation(program, config, adapters, persistent, batch)?;
    let prompt_embeds = program.input("prompt_embeds", [batch, text_tokens, config.context_width]);
    let positions = program.input("positions", [dims[2] / 2 * (dims[3] / 2), config.width]);
    let inputs = TransformerInputs { latents, prompt_embeds, positions, modulation };
    let prediction = record_transformer(program, config, adapters, persistent, &inputs)?;
    let given = Given { prompt_embeds, positions, timesteps: asked.timesteps, pooled: asked.pooled };
    Ok((given, prediction))
}

/// The file in `folder` that holds a transformer.
pub fn weights_file(folder: &Path) -> Result<PathBuf> {
    let entries = std::fs::read_dir(folder).map_err(|e| Error::io(folder, &e))?;
    let mut files: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "safetensors"));
    files
        .into_iter()
        .find(|path| open_mmdit(path).is_ok_and(|weights| MmditConfig::from_weights(&weights).is_ok()))
        .ok_or_else(|| Error::weights(folder, "there is no transformer in this folder"))
}

impl Model {
    /// The model in a file.
    pub fn open(path: &Path) -> Result<Self> {
        let weights = open_mmdit(path)?;
        let config = MmditConfig::from_weights(&weights)?;
        Ok(Self { weights, config })
    }

    /// An engine for `program` with the model's weights and the positions of latents of `height` x `width`.
    pub fn engine(
        &self,
        device: impl Into<Device>,
        program: Program,
        persistent: Persistent,
        positions_input: TensorId,
        (height, width): (usize, usize),
    ) -> Result<(Engine, Planned)> {
        let mut engine = Engine::new(device, 0, persistent)?;
        let planned = engine.plan(program)?;
        engine.reserve(&planned)?;
        engine.load_weights(&planned.program, &ModelWeights(&self.weights))?;
        let table = positions::read(&self.weights, &self.config, height, width)?;
        engine.write(&planned, positions_input, &table)?;
        Ok((engine, planned))
    }

    /// The modulation program for `rows` rows.
    pub fn modulator(&self, device: impl Into<Device>, rows: usize) -> Result<Modulator> {
        let layout = Persistent::new(1);
        let mut program = Program::new();
        let (inputs, outputs) =
            record_modulation(&mut program, &self.config, &Adapters::default(), &layout, rows)?;
        let mut engine = Engine::new(device, 0, layout)?;
        let planned = engine.plan(program)?;
        engine.reserve(&planned)?;
        engine.load_weights(&planned.program, &ModelWeights(&self.weights))?;
        Ok(Modulator { engine, planned, inputs, outputs })
    }

    /// A forward pass for latents of `shape`; the tensors called `kept` can be read after it.
    pub fn predictor(
        &self,
        device: impl Into<Device>,
        adapters: &Adapters,
        shape: &[usize],
        text_tokens: usize,
        kept: &[&str],
    ) -> Result<Predictor> {
        let mut persistent = Persistent::new(shape[0]);
        adapters.declare(&mut persistent);
        let mut program = Program::new();
        let latents = program.input("latents", shape);
        let (given, prediction) =
            record(&self.config, &mut program, (adapters, &persistent), latents, text_tokens)?;
        program.output(prediction);
        kept.iter()
            .filter_map(|name| program.find(name))
            .collect::<Vec<_>>()
            .into_iter()
            .for_each(|id| program.output(id));
        let (engine, planned) =
            self.engine(device, program, persistent, given.positions, (shape[2], shape[3]))?;
        Ok(Predictor { engine, planned, latents, given, prediction })
    }
}

impl Modulator {
    /// The vectors of every row, in the order of [`ModulationVectors::all`].
    pub fn vectors(&mut self, timesteps: &[f32], pooled: &[f32]) -> Result<Vec<Vec<f32>>> {
        self.engine.write(&self.planned, self.inputs.timesteps, timesteps)?;
        self.engine.write(&self.planned, self.inputs.pooled, pooled)?;
        self.engine.run(&self.planned)?;
        self.outputs.all().map(|id| self.engine.read(&self.planned, id)).collect()
    }
}

impl Predictor {
    /// Its engine.
    pub fn engine(&mut self) -> &mut Engine {
        &mut self.engine
    }

    /// The velocity.
    pub fn predict(&mut self, question: Question<'_>) -> Result<Vec<f32>> {
        let Given { prompt_embeds, timesteps, pooled, .. } = self.given;
        for (id, values) in [
            (self.latents, question.latents),
            (timesteps, question.timesteps),
            (prompt_embeds, question.prompt_embeds),
            (pooled, question.pooled),
        ] {
            self.engine.write(&self.planned, id, values)?;
        }
        self.engine.run(&self.planned)?;
        self.engine.read(&self.planned, self.prediction)
    }

    /// A kept tensor, if the program has one of that name.
    pub fn kept(&self, name: &str) -> Option<Vec<f32>> {
        let id = self.planned.program.find(name)?;
        self.engine.read(&self.planned, id).ok()
    }
}

/// Sets every parameter of an engine by name.
pub fn set_parameters(engine: &mut Engine, values: impl Fn(&str) -> Result<Vec<f32>>) -> Result<()> {
    for parameter in engine.layout().parameters().to_vec() {
        let values = values(&parameter.name)?;
        if values.len() != parameter.shape.elements() {
            return Err(Error::shape(
                &parameter.name,
                format!("{} values for {}", values.len(), parameter.shape),
            ));
        }
        engine.set_flat(Flat::Parameters, parameter.offset, &values)?;
    }
    Ok(())
}
