//! Norm of all gradients, and what to multiply them by: min(1, max / (norm + 1e-6)), as torch clips.

mod cuda;

use crate::device::cpu;
use crate::device::cuda::{Architecture, Launches, Operands};
use crate::error::Result;
use crate::kernels::contract::{Contract, Operand, Shapes, Update};
use crate::kernels::step_state;
use crate::tensor::TensorId;
use rayon::prelude::*;

/// Elements that one partial sum covers.
const ELEMENTS_A_PART: usize = 1 << 15;

/// Writes the norm and the clip factor into the step state.
#[derive(Debug, Clone)]
pub struct GradientNorm {
    /// The flat gradient buffer.
    pub gradients: TensorId,
    /// The step state.
    pub state: Update,
}

impl Contract for GradientNorm {
    fn operands(&mut self) -> Vec<Operand<'_>> {
        vec![Operand::Read(&mut self.gradients), Operand::Update(&mut self.state)]
    }

    fn exact(&self) -> Vec<TensorId> {
        vec![self.gradients, self.state.to]
    }

    fn check(&self, _shapes: &dyn Shapes) -> Result<()> {
        Ok(())
    }

    fn run_on_cpu(&self, operands: &cpu::Operands<'_>) -> Result<()> {
        let parts: Vec<f64> = operands
            .read(self.gradients)
            .par_chunks(ELEMENTS_A_PART)
            .map(|part| part.iter().map(|&g| f64::from(g) * f64::from(g)).sum())
            .collect();
        let norm = parts.iter().sum::<f64>().sqrt();
        let header = step_state::header_mut(operands.write(self.state.to));
        let limit = f64::from(header.max_gradient_norm);
        header.gradient_norm = norm as f32;
        header.clip_factor = if limit > 0.0 { (limit / (norm + 1e-6)).min(1.0) as f32 } else { 1.0 };
        Ok(())
    }

    fn cuda_workspace(&self, shapes: &dyn Shapes, _architecture: &Architecture) -> usize {
        self.workspace_on_card(shapes)
    }

    fn launch(&self, kernel: &'static str, operands: &Operands<'_>, to: &mut Launches) -> Result<()> {
        self.launch_on_card(kernel, operands, to)
    }
}
