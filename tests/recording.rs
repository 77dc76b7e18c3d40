//! A small program on the engine: inputs with their values, a run, and what came out.

// Every test binary uses a part of this.
#![allow(dead_code)]

use sargent::autograd::derive::derive;
use sargent::autograd::run::Planned;
use sargent::autograd::{Engine, Persistent, Program};
use sargent::device::Device;
use sargent::error::Result;
use sargent::kernels::step_state::{self, SampleState, StepHeader};
use sargent::ops;
use sargent::tensor::{Shape, TensorId};

/// A program in the making, with the values of its inputs.
#[derive(Default, Clone)]
pub struct Recording {
    /// The program.
    pub program: Program,
    inputs: Vec<(TensorId, Vec<f32>)>,
    state: Option<(StepHeader, Vec<SampleState>)>,
}

/// A program that has run.
pub struct Ran {
    /// Memory as the program left it.
    pub engine: Engine,
    /// What ran.
    pub planned: Planned,
    /// The gradients that were asked for, in that order; none where nothing depends on the tensor.
    pub gradients: Vec<Option<TensorId>>,
}

impl Recording {
    /// Adds an input that holds `values`.
    pub fn input(&mut self, name: &str, shape: impl Into<Shape>, values: &[f32]) -> TensorId {
        let id = self.program.input(name, shape);
        self.inputs.push((id, values.to_vec()));
        id
    }

    /// Adds the step state.
    pub fn step_state(&mut self, header: StepHeader, samples: Vec<SampleState>) -> TensorId {
        let id = Persistent::new(samples.len()).step_state(&mut self.program, samples.len());
        self.state = Some((header, samples));
        id
    }

    /// Runs the program; `outputs` can be read afterwards.
    pub fn run(self, device: impl Into<Device>, outputs: &[TensorId]) -> Result<Ran> {
        self.run_backward(device, outputs, &[], &[])
    }

    /// Runs the program and its derivative: `seeds` are outputs with their gradients, `wanted` the tensors whose
    /// gradients are asked for.
    pub fn run_backward(
        mut self,
        device: impl Into<Device>,
        outputs: &[TensorId],
        seeds: &[(TensorId, &[f32])],
        wanted: &[TensorId],
    ) -> Result<Ran> {
        outputs.iter().for_each(|&id| self.program.output(id));
        let mut seeded = Vec::new();
        for &(output, gradient) in seeds {
            let shape = self.program.tensors[output.index()].shape.clone();
            seeded.push((output, self.input("gradient", shape, gradient)));
        }
        let gradients = derive(&mut self.program, &seeded, &[], wanted, ops::derivative)?;
        let samples = self.state.as_ref().map_or(1, |(_, samples)| samples.len());
        let mut engine = Engine::new(device, 0, Persistent::new(samples))?;
        let planned = engine.plan(self.program)?;
        engine.reserve(&planned)?;
        if let Some((header, samples)) = &self.state {
            engine.change_step_state(samples.len(), |state| {
                *step_state::header_mut(state) = *header;
                step_state::samples_mut(state).copy_from_slice(samples);
            })?;
        }
        for (id, values) in &self.inputs {
            engine.write(&planned, *id, values)?;
        }
        engine.run(&planned)?;
        Ok(Ran { engine, planned, gradients })
    }
}

impl Ran {
    /// What an output holds.
    pub fn read(&self, id: TensorId) -> Result<Vec<f32>> {
        self.engine.read(&self.planned, id)
    }

    /// The gradient of the tensor that was asked for at `index`; zeros where nothing depends on it.
    pub fn gradient(&self, index: usize, elements: usize) -> Result<Vec<f32>> {
        self.gradients[index].map_or_else(|| Ok(vec![0.0; elements]), |id| self.read(id))
    }
}
