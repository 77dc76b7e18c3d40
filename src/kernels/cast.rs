//! The same values in the element type of the result. On a device that computes in f32 this is a copy.

mod cuda;

use crate::device::cpu;
use crate::device::cuda::{Launches, Operands};
use crate::error::Result;
use crate::kernels::contract::{Contract, Operand, Shapes, expect_shape};
use crate::tensor::TensorId;

/// y = x, where x is f32 on every device.
#[derive(Debug, Clone)]
pub struct Cast {
    /// Any shape.
    pub x: TensorId,
    /// As `x`.
    pub y: TensorId,
}

impl Contract for Cast {
    fn operands(&mut self) -> Vec<Operand<'_>> {
        vec![Operand::Read(&mut self.x), Operand::Write(&mut self.y)]
    }

    fn check(&self, shapes: &dyn Shapes) -> Result<()> {
        expect_shape("Cast", "y", shapes.shape(self.x), shapes.shape(self.y))
    }

    fn exact(&self) -> Vec<TensorId> {
        vec![self.x]
    }

    fn run_on_cpu(&self, operands: &cpu::Operands<'_>) -> Result<()> {
        operands.write(self.y).copy_from_slice(operands.read(self.x));
        Ok(())
    }

    fn launch(&self, kernel: &'static str, operands: &Operands<'_>, to: &mut Launches) -> Result<()> {
        self.launch_on_card(kernel, operands, to)
    }
}
