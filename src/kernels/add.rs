//! a + b.

mod cuda;

use crate::device::cpu;
use crate::device::cuda::{Launches, Operands};
use crate::error::Result;
use crate::kernels::contract::{Contract, Operand, Shapes, Update, expect};
use crate::kernels::parallel;
use crate::tensor::TensorId;

/// a becomes a + b, any shape; b may count its rows another way (`[b, h * w, c]` beside `[b, h, w, c]`).
#[derive(Debug, Clone)]
pub struct Add {
    /// a, before and after.
    pub a: Update,
    /// b.
    pub b: TensorId,
}

impl Contract for Add {
    fn operands(&mut self) -> Vec<Operand<'_>> {
        vec![Operand::Read(&mut self.b), Operand::Update(&mut self.a)]
    }

    fn check(&self, shapes: &dyn Shapes) -> Result<()> {
        expect("Add", self.a.accumulates(), || "there is nothing to add to".to_owned())?;
        let (a, b) = (shapes.shape(self.a.to), shapes.shape(self.b));
        let alike = (a.rows(), a.columns()) == (b.rows(), b.columns());
        expect("Add", alike, || format!("b has shape {b}, expected {a}"))
    }

    fn run_on_cpu(&self, operands: &cpu::Operands<'_>) -> Result<()> {
        let b = operands.read(self.b);
        parallel::over_rows(operands.write(self.a.to), 1, |first, a| {
            a.iter_mut().zip(&b[first..]).for_each(|(a, b)| *a += b);
        });
        Ok(())
    }

    fn launch(&self, kernel: &'static str, operands: &Operands<'_>, to: &mut Launches) -> Result<()> {
        self.launch_on_card(kernel, operands, to)
    }
}
