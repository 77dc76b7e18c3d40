//! Model files as a source of weights for the engine.

use crate::autograd::run::WeightSource;
use crate::error::Result;
use crate::weights::WeightMap;

/// Gives the engine the weights of one part of a model, each read from its file when it is asked for.
#[derive(Debug, Clone, Copy)]
pub struct ModelWeights<'a>(pub &'a WeightMap);

impl WeightSource for ModelWeights<'_> {
    fn read(&self, name: &str, out: &mut [f32]) -> Result<()> {
        self.0.get(name)?.read_f32(out)
    }
}
