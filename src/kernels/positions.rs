//! Adds the centre crop of the position table to the patches.

use crate::device::cpu;
use crate::error::Result;
use crate::kernels::contract::{Contract, Operand, Shapes, Update, expect};
use crate::kernels::parallel;
use crate::tensor::TensorId;

/// x `[b, height * width, columns]` becomes x + table crop.
#[derive(Debug, Clone)]
pub struct AddPositions {
    /// `[1, size * size, columns]`, row-major over a square of `size` patches a side.
    pub table: TensorId,
    /// Patches a side of the table.
    pub size: usize,
    /// Patches down.
    pub height: usize,
    /// Patches across.
    pub width: usize,
    /// x, before and after.
    pub x: Update,
}

impl AddPositions {
    /// Row of the table for token `token`: the crop is centred, rounding up and left.
    fn table_row(&self, token: usize) -> usize {
        let (top, left) = ((self.size - self.height) / 2, (self.size - self.width) / 2);
        (top + token / self.width) * self.size + left + token % self.width
    }
}

impl Contract for AddPositions {
    fn operands(&mut self) -> Vec<Operand<'_>> {
        vec![Operand::Read(&mut self.table), Operand::Update(&mut self.x)]
    }

    fn check(&self, shapes: &dyn Shapes) -> Result<()> {
        let (table, x) = (shapes.shape(self.table), shapes.shape(self.x.to));
        let fits = self.height.max(self.width) <= self.size && table.rows() == self.size * self.size;
        let agrees = x.dims().len() == 3 && x.dims()[1] == self.height * self.width;
        expect("AddPositions", fits && agrees && table.columns() == x.columns(), || {
            format!("{} x {} patches {x} do not fit the position table {table}", self.height, self.width)
        })
    }

    fn run_on_cpu(&self, operands: &cpu::Operands<'_>) -> Result<()> {
        let (table, columns) = (operands.read(self.table), operands.shape(self.x.to).columns());
        parallel::over_rows(operands.write(self.x.to), columns, |first, rows| {
            for (row, x) in (first..).zip(rows.chunks_exact_mut(columns)) {
                let position = self.table_row(row % (self.height * self.width));
                let positions = &table[position * columns..][..columns];
                x.iter_mut().zip(positions).for_each(|(x, p)| *x += p);
            }
        });
        Ok(())
    }
}
