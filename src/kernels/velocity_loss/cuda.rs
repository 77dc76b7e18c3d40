//! The flow-matching loss on a card: parts of samples, then samples.

use crate::device::cuda::{Address, Launches, Operands};
use crate::error::Result;
use crate::kernels::Shapes;
use crate::kernels::parameters::{
    NegateParams, VELOCITY_LOSS_ELEMENTS_A_BLOCK, VELOCITY_LOSS_THREADS, VelocityLossParams,
};
use crate::kernels::spread::{grid, word};
use crate::kernels::step_state;
use crate::kernels::velocity_loss::{Negate, VelocityLoss};
use crate::tensor::Shape;

/// How a prediction is cut: samples, elements of a sample, blocks of a sample.
struct Parts {
    samples: usize,
    sample_size: usize,
    blocks: usize,
}

impl Parts {
    fn of(prediction: &Shape) -> Self {
        let samples = prediction.dims()[0];
        let sample_size = prediction.elements() / samples.max(1);
        Self { samples, sample_size, blocks: sample_size.div_ceil(VELOCITY_LOSS_ELEMENTS_A_BLOCK as usize) }
    }
}

impl VelocityLoss {
    /// A sum for every block.
    pub(super) fn workspace_on_card(&self, shapes: &dyn Shapes) -> usize {
        let parts = Parts::of(shapes.shape(self.prediction));
        parts.samples * parts.blocks * size_of::<f64>()
    }

    pub(super) fn launch_on_card(
        &self,
        kernel: &str,
        operands: &Operands<'_>,
        to: &mut Launches,
    ) -> Result<()> {
        let Parts { samples, sample_size, blocks } = Parts::of(operands.shape(self.prediction));
        let state = operands.f32(kernel, self.state.to)?;
        let parameters = VelocityLossParams {
            prediction: operands.f32(kernel, self.prediction)?,
            velocity: operands.f32(kernel, self.velocity)?,
            dprediction: operands.f32(kernel, self.dprediction)?,
            sums: operands.workspace().0,
            state,
            samples: state + (step_state::HEADER_WORDS * size_of::<f32>()) as Address,
            sample_size: sample_size as u64,
            blocks_a_sample: word(kernel, blocks)?,
            reserved: 0,
        };
        let (parts, whole) = (grid(kernel, [blocks, samples, 1])?, grid(kernel, [samples, 1, 1])?);
        to.push("velocity_loss_parts", parts, VELOCITY_LOSS_THREADS, &parameters);
        to.push("velocity_loss", whole, VELOCITY_LOSS_THREADS, &parameters);
        Ok(())
    }
}

impl Negate {
    pub(super) fn launch_on_card(
        &self,
        kernel: &str,
        operands: &Operands<'_>,
        to: &mut Launches,
    ) -> Result<()> {
        let elements = operands.shape(self.x).elements();
        let (x, y) = (operands.f32(kernel, self.x)?, operands.f32(kernel, self.y)?);
        let blocks = grid(kernel, [elements.div_ceil(VELOCITY_LOSS_THREADS as usize), 1, 1])?;
        let parameters = NegateParams { x, y, elements: elements as u64 };
        to.push("negate", blocks, VELOCITY_LOSS_THREADS, &parameters);
        Ok(())
    }
}
