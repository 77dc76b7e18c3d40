//! LoRA: low-rank pairs beside frozen linear layers (Hu et al., arXiv 2106.09685), parametrised as in PEFT.

use crate::autograd::persistent::Flat;
use crate::autograd::{Persistent, Program};
use crate::kernels::Shapes;
use crate::kernels::linear::Base;
use crate::kernels::low_rank::Dropout;
use crate::models::adapter::modules::Module;
use crate::ops::linear::{Adapted, Layer, Lowered};
use crate::random::{Purpose, Stream};
use crate::tensor::{Shape, TensorId};
use std::ops::Range;

/// One pair and the layer that it belongs to.
#[derive(Debug, Clone, PartialEq)]
pub struct LoraPair {
    /// Tells apart pairs of one layer that come from different files; the parameters' names start with it.
    pub prefix: String,
    /// The layer.
    pub module: Module,
    /// Rank.
    pub rank: usize,
    /// alpha / rank, times the strength at which a file is applied.
    pub scale: f64,
}

/// How A starts; B starts at zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoraInit {
    /// Uniform within 1 / sqrt(in), PEFT's default.
    Uniform,
    /// Normal with deviation 1 / rank, PEFT's `gaussian`.
    Gaussian,
}

/// All adapters of a model.
#[derive(Debug, Clone, PartialEq)]
pub struct Adapters {
    /// The pairs; a pair's place is its index in dropout masks and initial weights.
    pub pairs: Vec<LoraPair>,
    /// Probability of dropping an element of a layer's input on its way to A, while training.
    pub dropout: f32,
    /// The flat buffer that they are read from: the parameters or their moving average.
    pub source: Flat,
}

impl Default for Adapters {
    /// None.
    fn default() -> Self {
        Self { pairs: Vec::new(), dropout: 0.0, source: Flat::Parameters }
    }
}

impl LoraPair {
    /// Name of A among the parameters, as in files.
    pub fn a_name(&self) -> String {
        format!("{}transformer.{}.lora_A.weight", self.prefix, self.module.path)
    }

    /// Name of B among the parameters, as in files.
    pub fn b_name(&self) -> String {
        format!("{}transformer.{}.lora_B.weight", self.prefix, self.module.path)
    }

    /// A's shape, `[rank, in]`.
    pub fn a_shape(&self) -> Shape {
        [self.rank, self.module.inputs].into()
    }

    /// B's shape, `[out, rank]`.
    pub fn b_shape(&self) -> Shape {
        [self.module.rows.len(), self.rank].into()
    }
}

impl Adapters {
    /// New pairs of one rank for `modules`.
    pub fn new(modules: Vec<Module>, rank: usize, alpha: f64, dropout: f32) -> Self {
        let scale = alpha / rank as f64;
        let pair = |module| LoraPair { prefix: String::new(), module, rank, scale };
        Self { pairs: modules.into_iter().map(pair).collect(), dropout, source: Flat::Parameters }
    }

    /// The same adapters as they are outside training: without dropout, read from `source`.
    pub fn for_inference(&self, source: Flat) -> Self {
        Self { dropout: 0.0, source, ..self.clone() }
    }

    /// The same adapters with their effect multiplied by `strength`.
    pub fn strengthened(&self, strength: f64) -> Self {
        let pair = |pair: &LoraPair| LoraPair { scale: pair.scale * strength, ..pair.clone() };
        Self { pairs: self.pairs.iter().map(pair).collect(), ..self.clone() }
    }

    /// The persistent region with all parameters.
    pub fn declare(&self, persistent: &mut Persistent) {
        for pair in &self.pairs {
            persistent.add(pair.a_name(), pair.a_shape());
            persistent.add(pair.b_name(), pair.b_shape());
        }
    }

    /// Initial A of pair `index`.
    pub fn initial_a(&self, index: usize, init: LoraInit, seed: u64) -> Vec<f32> {
        let pair = &self.pairs[index];
        let stream = Stream::new(seed, Purpose::AdapterInit, 0, 0, index as u32);
        let bound = (pair.module.inputs as f32).sqrt().recip();
        let draw = |element| match init {
            LoraInit::Uniform => (2.0 * stream.uniform(element) - 1.0) * bound,
            LoraInit::Gaussian => stream.normal(element) / pair.rank as f32,
        };
        (0..pair.a_shape().elements()).map(draw).collect()
    }

    /// The linear layer over `rows` of the weight `weight` (which has `outputs` rows) with the pairs of those rows.
    pub fn layer(
        &self,
        program: &mut Program,
        persistent: &Persistent,
        weight: &str,
        rows: Range<usize>,
        outputs: usize,
        x: TensorId,
    ) -> Layer {
        let (inputs, samples) = (program.shape(x).columns(), program.shape(x).dims()[0]);
        let rows_a_sample = program.shape(x).rows() / samples;
        let base = Base {
            weight: program.weight(&format!("{weight}.weight"), &[outputs, inputs].into()),
            rows: rows.clone(),
            bias: Some(program.weight(&format!("{weight}.bias"), &[outputs].into())),
        };
        let mut adapted = Vec::new();
        for (index, pair) in self.pairs.iter().enumerate() {
            let module = &pair.module;
            let inside = rows.start <= module.rows.start && module.rows.end <= rows.end;
            if module.weight != weight || !inside {
                continue;
            }
            let mut tensor = |name: &str| persistent.tensor(program, name, self.source);
            let (Some(a), Some(b)) = (tensor(&pair.a_name()), tensor(&pair.b_name())) else { continue };
            adapted.push(Adapted {
                columns: module.rows.start - rows.start..module.rows.end - rows.start,
                index: index as u32,
                lowered: Lowered::LowRank { a, b, scale: pair.scale as f32 },
                output_scale: None,
            });
        }
        let dropout = (self.dropout > 0.0 && !adapted.is_empty()).then(|| Dropout {
            probability: self.dropout,
            state: persistent.step_state(program, samples),
            rows_a_sample,
        });
        Layer { base, adapted, dropout }
    }
}
