//! Modulation vectors for the coming steps, of training or of sampling, made in one run of their program.

use crate::autograd::Engine;
use crate::autograd::run::Planned;
use crate::error::Result;
use crate::kernels::Shapes;
use crate::models::mmdit::{ModulationInputs, ModulationVectors};
use std::collections::VecDeque;

/// What one sample's modulation vectors are made from.
#[derive(Debug, Clone)]
pub struct Conditioning {
    /// 1000 sigma.
    pub timestep: f32,
    /// Pooled prompt embeddings.
    pub pooled: Vec<f32>,
}

/// One sample's vectors, in the order of [`ModulationVectors::all`].
pub type SampleVectors = Vec<Vec<f32>>;

/// The modulation program for a fixed number of rows, and the rows that were made and not yet used.
#[derive(Debug)]
pub struct ModulationAhead {
    planned: Planned,
    inputs: ModulationInputs,
    vectors: ModulationVectors,
    rows: usize,
    ready: VecDeque<SampleVectors>,
}

impl ModulationAhead {
    /// Vectors from a planned program of `rows` rows.
    pub fn new(planned: Planned, inputs: ModulationInputs, vectors: ModulationVectors, rows: usize) -> Self {
        Self { planned, inputs, vectors, rows, ready: VecDeque::new() }
    }

    /// Whether everything made was used.
    pub fn is_empty(&self) -> bool {
        self.ready.is_empty()
    }

    /// Forgets what was made and not used.
    pub fn clear(&mut self) {
        self.ready.clear();
    }

    /// Makes the vectors of `coming` samples, in the order in which they will be taken.
    pub fn fill(&mut self, engine: &mut Engine, coming: &[Conditioning]) -> Result<()> {
        for part in coming.chunks(self.rows) {
            let width = self.planned.program.shape(self.inputs.pooled).columns();
            let mut timesteps = vec![0.0; self.rows];
            let mut pooled = vec![0.0; self.rows * width];
            for (row, sample) in part.iter().enumerate() {
                timesteps[row] = sample.timestep;
                pooled[row * width..][..width].copy_from_slice(&sample.pooled);
            }
            engine.write(&self.planned, self.inputs.timesteps, &timesteps)?;
            engine.write(&self.planned, self.inputs.pooled, &pooled)?;
            engine.run(&self.planned)?;
            let made =
                self.vectors.all().map(|id| engine.read(&self.planned, id)).collect::<Result<Vec<_>>>()?;
            for row in 0..part.len() {
                let of_row = made.iter().map(|all| {
                    let length = all.len() / self.rows;
                    all[row * length..(row + 1) * length].to_vec()
                });
                self.ready.push_back(of_row.collect());
            }
        }
        Ok(())
    }

    /// The vectors of the next `samples` samples, sample after sample, in the order of
    /// [`ModulationVectors::all`].
    pub fn take(&mut self, samples: usize) -> Vec<Vec<f32>> {
        let mut batch: Vec<Vec<f32>> = Vec::new();
        for vectors in self.ready.drain(..samples) {
            batch.resize(vectors.len(), Vec::new());
            batch.iter_mut().zip(vectors).for_each(|(all, one)| all.extend(one));
        }
        batch
    }
}
