//! The norm of all gradients on a card: sums of equal parts, then their sum.

use crate::device::cuda::{Launches, Operands};
use crate::error::Result;
use crate::kernels::Shapes;
use crate::kernels::gradient_norm::GradientNorm;
use crate::kernels::parameters::{GRADIENT_NORM_ELEMENTS_A_BLOCK, GRADIENT_NORM_THREADS, GradientNormParams};
use crate::kernels::spread::{grid, word};
use crate::tensor::Shape;

/// Blocks of the first stage.
fn blocks(gradients: &Shape) -> usize {
    gradients.elements().div_ceil(GRADIENT_NORM_ELEMENTS_A_BLOCK as usize)
}

impl GradientNorm {
    /// A sum for every block.
    pub(super) fn workspace_on_card(&self, shapes: &dyn Shapes) -> usize {
        blocks(shapes.shape(self.gradients)) * size_of::<f64>()
    }

    pub(super) fn launch_on_card(
        &self,
        kernel: &str,
        operands: &Operands<'_>,
        to: &mut Launches,
    ) -> Result<()> {
        let shape = operands.shape(self.gradients);
        let parameters = GradientNormParams {
            gradients: operands.f32(kernel, self.gradients)?,
            sums: operands.workspace().0,
            state: operands.f32(kernel, self.state.to)?,
            elements: shape.elements() as u64,
            blocks: word(kernel, blocks(shape))?,
            reserved: 0,
        };
        let all = grid(kernel, [blocks(shape), 1, 1])?;
        to.push("gradient_squares", all, GRADIENT_NORM_THREADS, &parameters);
        to.push("gradient_norm", [1; 3], GRADIENT_NORM_THREADS, &parameters);
        Ok(())
    }
}
