//! Sinusoidal features of the timestep, cosines first, f_k = 10000^(-k / (n/2)); f32 as in diffusers.

mod cuda;

use crate::device::cpu;
use crate::device::cuda::{Launches, Operands};
use crate::error::Result;
use crate::kernels::contract::{Contract, Operand, Shapes, expect};
use crate::tensor::TensorId;

/// features `[b, n]` of timesteps `[b]` (1000 sigma, fractional).
#[derive(Debug, Clone)]
pub struct TimestepFeatures {
    /// Timesteps.
    pub timesteps: TensorId,
    /// Features.
    pub features: TensorId,
}

impl Contract for TimestepFeatures {
    fn operands(&mut self) -> Vec<Operand<'_>> {
        vec![Operand::Read(&mut self.timesteps), Operand::Write(&mut self.features)]
    }

    fn exact(&self) -> Vec<TensorId> {
        vec![self.timesteps]
    }

    fn check(&self, shapes: &dyn Shapes) -> Result<()> {
        let (timesteps, features) = (shapes.shape(self.timesteps), shapes.shape(self.features));
        expect("TimestepFeatures", timesteps.elements() == features.rows(), || {
            format!("timesteps have shape {timesteps}, features {features}")
        })
    }

    fn run_on_cpu(&self, operands: &cpu::Operands<'_>) -> Result<()> {
        let timesteps = operands.read(self.timesteps);
        let n = operands.shape(self.features).columns();
        let rows = operands.write(self.features).chunks_exact_mut(n);
        for (&t, row) in timesteps.iter().zip(rows) {
            let (cosines, sines) = row.split_at_mut(n / 2);
            for (k, (cosine, sine)) in cosines.iter_mut().zip(sines).enumerate() {
                let frequency = (-(10000f32.ln()) * k as f32 / (n / 2) as f32).exp();
                (*sine, *cosine) = (t * frequency).sin_cos();
            }
        }
        Ok(())
    }

    fn launch(&self, kernel: &'static str, operands: &Operands<'_>, to: &mut Launches) -> Result<()> {
        self.launch_on_card(kernel, operands, to)
    }
}
