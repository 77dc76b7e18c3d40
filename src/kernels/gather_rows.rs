//! One row of each sample: y[b] = x[b, rows[b]].

mod cuda;

use crate::device::cpu;
use crate::device::cuda::{Launches, Operands};
use crate::error::{Error, Result};
use crate::kernels::contract::{Contract, Operand, Shapes, expect, expect_shape};
use crate::tensor::TensorId;

/// y `[b, columns]`.
#[derive(Debug, Clone)]
pub struct GatherRows {
    /// x `[b, tokens, columns]`.
    pub x: TensorId,
    /// Integers `[b]` below `tokens`.
    pub rows: TensorId,
    /// y.
    pub y: TensorId,
}

impl Contract for GatherRows {
    fn operands(&mut self) -> Vec<Operand<'_>> {
        vec![Operand::Read(&mut self.x), Operand::Read(&mut self.rows), Operand::Write(&mut self.y)]
    }

    fn check(&self, shapes: &dyn Shapes) -> Result<()> {
        let x = shapes.shape(self.x);
        expect("GatherRows", x.dims().len() == 3, || format!("x has shape {x}, expected three extents"))?;
        let batch = x.dims()[0];
        expect_shape("GatherRows", "rows", &[batch].into(), shapes.shape(self.rows))?;
        expect_shape("GatherRows", "y", &[batch, x.columns()].into(), shapes.shape(self.y))
    }

    fn run_on_cpu(&self, operands: &cpu::Operands<'_>) -> Result<()> {
        let (x, shape) = (operands.read(self.x), operands.shape(self.x));
        let (tokens, columns) = (shape.dims()[1], shape.columns());
        let samples = x.chunks_exact(tokens * columns).zip(operands.write(self.y).chunks_exact_mut(columns));
        for (&row, (x, y)) in operands.read_ids(self.rows).iter().zip(samples) {
            let found = usize::try_from(row).ok().and_then(|row| x.chunks_exact(columns).nth(row));
            let found = found.ok_or_else(|| Error::shape("GatherRows", format!("row {row} of {tokens}")))?;
            y.copy_from_slice(found);
        }
        Ok(())
    }

    fn launch(&self, kernel: &'static str, operands: &Operands<'_>, to: &mut Launches) -> Result<()> {
        self.launch_on_card(kernel, operands, to)
    }
}
