//! The weights of a model as the engine asks for them.

use crate::autograd::run::WeightSource;
use crate::error::{Error, Result};
use crate::weights::WeightMap;

/// Reads weights by canonical name from a part of a model.
#[derive(Debug, Clone, Copy)]
pub struct ModelWeights<'a>(pub &'a WeightMap);

impl WeightSource for ModelWeights<'_> {
    fn read(&self, name: &str, out: &mut [f32]) -> Result<()> {
        let weight = self.0.get(name)?;
        if weight.elements() != out.len() {
            let cause = format!("it has {} elements, {} are needed", weight.elements(), out.len());
            return Err(Error::tensor(self.0.path(), name, cause));
        }
        weight.read_f32(out)
    }
}
