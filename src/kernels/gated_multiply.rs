//! a * b, elementwise: the gate of a gated feed-forward layer.

mod cuda;

use crate::device::cpu;
use crate::device::cuda::{Launches, Operands};
use crate::error::Result;
use crate::kernels::contract::{Contract, Operand, Shapes, Update, expect, expect_shape};
use crate::kernels::parallel;
use crate::tensor::TensorId;

/// a becomes a * b, any shape.
#[derive(Debug, Clone)]
pub struct GatedMultiply {
    /// a, before and after.
    pub a: Update,
    /// b.
    pub b: TensorId,
}

impl Contract for GatedMultiply {
    fn operands(&mut self) -> Vec<Operand<'_>> {
        vec![Operand::Read(&mut self.b), Operand::Update(&mut self.a)]
    }

    fn check(&self, shapes: &dyn Shapes) -> Result<()> {
        expect("GatedMultiply", self.a.accumulates(), || "there is nothing to multiply".to_owned())?;
        expect_shape("GatedMultiply", "b", shapes.shape(self.a.to), shapes.shape(self.b))
    }

    fn run_on_cpu(&self, operands: &cpu::Operands<'_>) -> Result<()> {
        let b = operands.read(self.b);
        parallel::over_rows(operands.write(self.a.to), 1, |first, a| {
            a.iter_mut().zip(&b[first..]).for_each(|(a, b)| *a *= b);
        });
        Ok(())
    }

    fn launch(&self, kernel: &'static str, operands: &Operands<'_>, to: &mut Launches) -> Result<()> {
        self.launch_on_card(kernel, operands, to)
    }
}
