//! A model's mapped weights, as programs ask for them: by canonical name, in f32.

use crate::autograd::run::WeightSource;
use crate::error::Result;
use crate::weights::WeightMap;

/// The weights of one part of a model.
#[derive(Debug, Clone, Copy)]
pub struct ModelWeights<'a>(pub &'a WeightMap);

impl WeightSource for ModelWeights<'_> {
    fn read(&self, name: &str, out: &mut [f32]) -> Result<()> {
        self.0.get(name)?.read_f32(out)
    }
}
