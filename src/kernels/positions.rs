//! Adds every token's position to it.

mod cuda;

use crate::device::cpu;
use crate::device::cuda::{Launches, Operands};
use crate::error::Result;
use crate::kernels::contract::{Contract, Operand, Shapes, Update, expect};
use crate::kernels::parallel;
use crate::tensor::TensorId;

/// x `[b, tokens, columns]` becomes x + positions.
#[derive(Debug, Clone)]
pub struct AddPositions {
    /// `[tokens, columns]`, the same for every sample.
    pub positions: TensorId,
    /// x, before and after.
    pub x: Update,
}

impl Contract for AddPositions {
    fn operands(&mut self) -> Vec<Operand<'_>> {
        vec![Operand::Read(&mut self.positions), Operand::Update(&mut self.x)]
    }

    fn check(&self, shapes: &dyn Shapes) -> Result<()> {
        let (positions, x) = (shapes.shape(self.positions), shapes.shape(self.x.to));
        let agrees = x.dims().len() == 3 && x.dims()[1..] == *positions.dims();
        expect("AddPositions", self.x.accumulates() && agrees, || {
            format!("x has shape {x}, the positions {positions}")
        })
    }

    fn run_on_cpu(&self, operands: &cpu::Operands<'_>) -> Result<()> {
        let (positions, shape) = (operands.read(self.positions), operands.shape(self.positions));
        let (tokens, columns) = (shape.rows(), shape.columns());
        parallel::over_rows(operands.write(self.x.to), columns, |first, rows| {
            for (row, x) in (first..).zip(rows.chunks_exact_mut(columns)) {
                let position = &positions[row % tokens * columns..][..columns];
                x.iter_mut().zip(position).for_each(|(x, p)| *x += p);
            }
        });
        Ok(())
    }

    fn launch(&self, kernel: &'static str, operands: &Operands<'_>, to: &mut Launches) -> Result<()> {
        self.launch_on_card(kernel, operands, to)
    }
}
