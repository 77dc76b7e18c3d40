//! One row of each sample on a card.

use crate::device::cuda::{Launches, Operands};
use crate::error::Result;
use crate::kernels::gather_rows::GatherRows;
use crate::kernels::parameters::{GatherRowsParams, ROW_THREADS};
use crate::kernels::spread::{Rows, word};
use crate::tensor::DType;

impl GatherRows {
    pub(super) fn launch_on_card(
        &self,
        kernel: &str,
        operands: &Operands<'_>,
        to: &mut Launches,
    ) -> Result<()> {
        let (symbol, dtype) = match operands.dtype(self.x) {
            DType::F32 => ("gather_rows_f32", DType::F32),
            _ => ("gather_rows", DType::Bf16),
        };
        let (x, y) = (operands.address(kernel, self.x, dtype)?, operands.address(kernel, self.y, dtype)?);
        let chosen = operands.i32(kernel, self.rows)?;
        let spread = Rows::new(kernel, operands.shape(self.y), &[x, y])?;
        let Rows { rows: samples, columns, aligned } = spread;
        let tokens = word(kernel, operands.shape(self.x).dims()[1])?;
        let parameters = GatherRowsParams { x, chosen, y, samples, columns, tokens, aligned };
        to.push(symbol, spread.grid_of_pieces(kernel)?, ROW_THREADS, &parameters);
        Ok(())
    }
}
