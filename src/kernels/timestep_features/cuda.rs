//! Timestep features on a card.

use crate::device::cuda::{Launches, Operands};
use crate::error::Result;
use crate::kernels::parameters::{TIMESTEP_FEATURES_THREADS, TimestepFeaturesParams};
use crate::kernels::spread::{grid, word};
use crate::kernels::timestep_features::TimestepFeatures;
use crate::tensor::DType;

impl TimestepFeatures {
    pub(super) fn launch_on_card(
        &self,
        kernel: &str,
        operands: &Operands<'_>,
        to: &mut Launches,
    ) -> Result<()> {
        let shape = operands.shape(self.features);
        let (symbol, dtype) = match operands.dtype(self.features) {
            DType::F32 => ("timestep_features_f32", DType::F32),
            _ => ("timestep_features_bf16", DType::Bf16),
        };
        let parameters = TimestepFeaturesParams {
            timesteps: operands.f32(kernel, self.timesteps)?,
            features: operands.address(kernel, self.features, dtype)?,
            samples: word(kernel, shape.rows())?,
            count: word(kernel, shape.columns())?,
        };
        let blocks = shape.elements().div_ceil(TIMESTEP_FEATURES_THREADS as usize);
        to.push(symbol, grid(kernel, [blocks, 1, 1])?, TIMESTEP_FEATURES_THREADS, &parameters);
        Ok(())
    }
}
