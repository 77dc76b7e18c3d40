//! One adapter: a layer, a form, and the names under which its numbers are trained.

use super::form::{Form, LoraInit, Start};
use super::modules::Module;
use crate::random::{Purpose, Stream};
use crate::tensor::Shape;

/// An adapter and the layer that it belongs to.
#[derive(Debug, Clone, PartialEq)]
pub struct Adapter {
    /// Tells apart adapters of one layer that come from different files; the parameters' names start with it.
    pub prefix: String,
    /// The layer.
    pub module: Module,
    /// What it is made of.
    pub form: Form,
    /// alpha / rank (or over its root), times the strength at which a file is applied.
    pub scale: f64,
    /// Whether it is a DoRA: the rows of the changed weight have lengths of their own.
    pub with_magnitude: bool,
}

impl Adapter {
    /// A LoRA with a scale.
    pub fn low_rank(module: Module, rank: usize, scale: f64) -> Self {
        Self { prefix: String::new(), module, form: Form::LowRank { rank }, scale, with_magnitude: false }
    }

    /// Width of the layer's output.
    pub fn outputs(&self) -> usize {
        self.module.rows.len()
    }

    /// The name among the parameters of the matrix whose name in files ends with `suffix`.
    pub fn name(&self, suffix: &str) -> String {
        let Self { prefix, module, form, .. } = self;
        match form {
            Form::LowRank { .. } => format!("{prefix}transformer.{}.{suffix}", module.path),
            _ => format!("{prefix}lycoris_{}.{suffix}", module.path.replace('.', "_")),
        }
    }

    /// The name of the magnitudes.
    pub fn magnitude_name(&self) -> String {
        self.name(match self.form {
            Form::LowRank { .. } => "lora_magnitude_vector",
            _ => "dora_scale",
        })
    }

    /// Name and shape of everything that is trained.
    pub fn parameters(&self) -> Vec<(String, Shape)> {
        let matrices = self.form.matrices(self.outputs(), self.module.inputs, LoraInit::Uniform).into_iter();
        let matrices = matrices.map(|matrix| (self.name(&matrix.suffix), matrix.shape.into()));
        let magnitude = self.with_magnitude.then(|| (self.magnitude_name(), [self.outputs()].into()));
        matrices.chain(magnitude).collect()
    }

    /// Name and initial values of every matrix of the adapter that is number `index` of all.
    pub fn initial_matrices(&self, index: usize, init: LoraInit, seed: u64) -> Vec<(String, Vec<f32>)> {
        let matrices = self.form.matrices(self.outputs(), self.module.inputs, init).into_iter().enumerate();
        let drawn = matrices.map(|(lane, matrix)| {
            let stream = Stream::new(seed, Purpose::AdapterInit, lane as u32, 0, index as u32);
            let draw = |element| match matrix.start {
                Start::Zero => 0.0,
                Start::Uniform(bound) => (2.0 * stream.uniform(element) - 1.0) * bound,
                Start::Normal(deviation) => stream.normal(element) * deviation,
            };
            (self.name(&matrix.suffix), (0..matrix.shape[0] * matrix.shape[1]).map(draw).collect())
        });
        drawn.collect()
    }
}
