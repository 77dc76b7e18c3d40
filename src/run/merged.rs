//! A model's weights with adapters merged into them as they are read.

use crate::autograd::run::WeightSource;
use crate::error::Result;
use crate::export::Changes;
use crate::models::weight_source::ModelWeights;

/// Rows that are changed at a time.
const STRETCH: usize = 256;

/// See the module's documentation.
#[derive(Debug, Clone, Copy)]
pub struct MergedWeights<'a> {
    /// The weights as they are in the model's files.
    pub base: ModelWeights<'a>,
    /// What is added to them.
    pub changes: &'a Changes,
}

impl WeightSource for MergedWeights<'_> {
    fn read(&self, name: &str, out: &mut [f32]) -> Result<()> {
        self.base.read(name, out)?;
        let Some(weight) = name.strip_suffix(".weight") else { return Ok(()) };
        let Some(columns) = self.changes.columns(weight) else { return Ok(()) };
        for (index, values) in out.chunks_mut(STRETCH * columns).enumerate() {
            let first = index * STRETCH;
            let rows = first..first + values.len() / columns;
            let mut changed: Vec<f64> = values.iter().map(|&value| f64::from(value)).collect();
            self.changes.apply(weight, &rows, &mut changed);
            values.iter_mut().zip(changed).for_each(|(value, changed)| *value = changed as f32);
        }
        Ok(())
    }
}
