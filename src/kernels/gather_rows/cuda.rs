//! One row of each sample on a card.

use crate::device::cuda::{Launches, Operands};
use crate::error::Result;
use crate::kernels::gather_rows::GatherRows;
use crate::kernels::parameters::{GatherRowsParams, ROW_THREADS};
use crate::kernels::spread::{Rows, word};

impl GatherRows {
    pub(super) fn launch_on_card(
        &self,
        kernel: &str,
        operands: &Operands<'_>,
        to: &mut Launches,
    ) -> Result<()> {
        let (x, y) = (operands.bf16(kernel, self.x)?, operands.bf16(kernel, self.y)?);
        let chosen = operands.i32(kernel, self.rows)?;
        let spread = Rows::new(kernel, operands.shape(self.y), &[x, y])?;
        let Rows { rows: samples, columns, aligned } = spread;
        let tokens = word(kernel, operands.shape(self.x).dims()[1])?;
        let parameters = GatherRowsParams { x, chosen, y, samples, columns, tokens, aligned };
        to.push("gather_rows", spread.grid_of_pieces(kernel)?, ROW_THREADS, &parameters);
        Ok(())
    }
}
