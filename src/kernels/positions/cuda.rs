//! Adding positions on a card.

use crate::device::cuda::{Launches, Operands};
use crate::error::Result;
use crate::kernels::parameters::{AddPositionsParams, ROW_THREADS};
use crate::kernels::positions::AddPositions;
use crate::kernels::spread::{Rows, word};
use crate::tensor::DType;

impl AddPositions {
    pub(super) fn launch_on_card(
        &self,
        kernel: &str,
        operands: &Operands<'_>,
        to: &mut Launches,
    ) -> Result<()> {
        let (symbol, dtype) = match operands.dtype(self.x.to) {
            DType::F32 => ("add_positions_f32", DType::F32),
            _ => ("add_positions_bf16", DType::Bf16),
        };
        let (positions, x) =
            (operands.bf16(kernel, self.positions)?, operands.address(kernel, self.x.to, dtype)?);
        let spread = Rows::new(kernel, operands.shape(self.x.to), &[positions, x])?;
        let Rows { rows, columns, aligned } = spread;
        let tokens = word(kernel, operands.shape(self.positions).rows())?;
        let parameters = AddPositionsParams { positions, x, rows, columns, tokens, aligned };
        to.push(symbol, spread.grid_of_pieces(kernel)?, ROW_THREADS, &parameters);
        Ok(())
    }
}
