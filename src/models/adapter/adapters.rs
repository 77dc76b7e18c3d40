//! All adapters of a model, and the linear layers with them.

use super::form::LoraInit;
use super::modules::Module;
use super::of_layer::Adapter;
use crate::autograd::persistent::Flat;
use crate::autograd::run::WeightSource;
use crate::autograd::{Persistent, Program};
use crate::error::Result;
use crate::kernels::Shapes;
use crate::kernels::linear::Base;
use crate::kernels::low_rank::Dropout;
use crate::kernels::magnitude::length;
use crate::ops::linear::Layer;
use crate::tensor::TensorId;
use std::ops::Range;

/// All adapters of a model.
#[derive(Debug, Clone, PartialEq)]
pub struct Adapters {
    /// The adapters; one's place is its index in dropout masks and initial weights.
    pub all: Vec<Adapter>,
    /// Probability of dropping an element of a layer's input on its way to A, while training.
    pub dropout: f32,
    /// The flat buffer that they are read from: the parameters or their moving average.
    pub source: Flat,
}

impl Default for Adapters {
    /// None.
    fn default() -> Self {
        Self { all: Vec::new(), dropout: 0.0, source: Flat::Parameters }
    }
}

impl Adapters {
    /// New LoRAs of one rank for `modules`.
    pub fn new(modules: Vec<Module>, rank: usize, alpha: f64, dropout: f32) -> Self {
        let scale = alpha / rank as f64;
        let all = modules.into_iter().map(|module| Adapter::low_rank(module, rank, scale)).collect();
        Self { all, dropout, source: Flat::Parameters }
    }

    /// The same adapters as they are outside training: without dropout, read from `source`.
    pub fn for_inference(&self, source: Flat) -> Self {
        Self { dropout: 0.0, source, ..self.clone() }
    }

    /// The same adapters with their change multiplied by `strength`; none where one is a DoRA, whose rows have lengths
    /// of their own.
    pub fn strengthened(&self, strength: f64) -> Option<Self> {
        let adapter = |adapter: &Adapter| {
            let scale = adapter.scale * strength;
            (!adapter.with_magnitude).then(|| Adapter { scale, ..adapter.clone() })
        };
        let all = self.all.iter().map(adapter).collect::<Option<_>>()?;
        Some(Self { all, ..self.clone() })
    }

    /// Adds all parameters to the persistent region.
    pub fn declare(&self, persistent: &mut Persistent) {
        for (name, shape) in self.all.iter().flat_map(Adapter::parameters) {
            persistent.add(name, shape);
        }
    }

    /// Name and initial values of every parameter of adapter `index`; `weights` are the model's.
    ///
    /// # Errors
    /// Magnitudes that cannot be found, since their weight cannot be read.
    pub fn initial(
        &self,
        index: usize,
        init: LoraInit,
        seed: u64,
        weights: &dyn WeightSource,
    ) -> Result<Vec<(String, Vec<f32>)>> {
        let adapter = &self.all[index];
        let mut all = adapter.initial_matrices(index, init, seed);
        if adapter.with_magnitude {
            // Every form begins without a change, so these are the lengths of the frozen rows.
            all.push((adapter.magnitude_name(), row_lengths(&adapter.module, weights)?));
        }
        Ok(all)
    }

    /// The linear layer over `rows` of the weight `weight` (which has `outputs` rows) with the adapters of those rows.
    ///
    /// # Errors
    /// Those of recording a kernel.
    pub fn layer(
        &self,
        program: &mut Program,
        persistent: &Persistent,
        weight: &str,
        rows: Range<usize>,
        outputs: usize,
        x: TensorId,
    ) -> Result<Layer> {
        let (inputs, samples) = (program.shape(x).columns(), program.shape(x).dims()[0]);
        let rows_a_sample = program.shape(x).rows() / samples;
        let base = Base {
            weight: program.weight(&format!("{weight}.weight"), &[outputs, inputs].into()),
            rows: rows.clone(),
            bias: Some(program.weight(&format!("{weight}.bias"), &[outputs].into())),
        };
        let mut adapted = Vec::new();
        for (index, adapter) in self.all.iter().enumerate() {
            let module = &adapter.module;
            let inside = rows.start <= module.rows.start && module.rows.end <= rows.end;
            if module.weight != weight || !inside {
                continue;
            }
            let mut tensor =
                |program: &mut Program, name: &str| persistent.tensor(program, name, self.source);
            let columns = module.rows.start - rows.start..module.rows.end - rows.start;
            adapted.extend(adapter.lower(program, &mut tensor, (index as u32, columns), base.weight)?);
        }
        let dropout = (self.dropout > 0.0 && !adapted.is_empty()).then(|| Dropout {
            probability: self.dropout,
            state: persistent.step_state(program, samples),
            rows_a_sample,
        });
        Ok(Layer { base, adapted, dropout })
    }
}

/// The lengths of a layer's frozen rows.
fn row_lengths(module: &Module, weights: &dyn WeightSource) -> Result<Vec<f32>> {
    let mut values = vec![0.0; module.weight_rows * module.inputs];
    weights.read(&format!("{}.weight", module.weight), &mut values)?;
    let rows = values.chunks_exact(module.inputs).skip(module.rows.start).take(module.rows.len());
    Ok(rows.map(length).collect())
}
