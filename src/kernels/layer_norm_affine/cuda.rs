//! LayerNorm with gain and bias on a card.

use crate::device::cuda::{Launches, Operands};
use crate::error::Result;
use crate::kernels::layer_norm_affine::LayerNormAffine;
use crate::kernels::parameters::{LayerNormAffineParams, ROW_THREADS};
use crate::kernels::spread::{RowForms, Rows};

const FORMS: RowForms =
    ["layer_norm_affine_512", "layer_norm_affine_1536", "layer_norm_affine_2560", "layer_norm_affine_any"];

impl LayerNormAffine {
    pub(super) fn launch_on_card(
        &self,
        kernel: &str,
        operands: &Operands<'_>,
        to: &mut Launches,
    ) -> Result<()> {
        let (x, y) = (operands.bf16(kernel, self.x)?, operands.bf16(kernel, self.y)?);
        let (gain, bias) = (operands.bf16(kernel, self.gain)?, operands.bf16(kernel, self.bias)?);
        let spread = Rows::new(kernel, operands.shape(self.x), &[x, gain, bias, y])?;
        let Rows { rows, columns, aligned } = spread;
        let epsilon = self.epsilon;
        let parameters = LayerNormAffineParams { x, gain, bias, y, rows, columns, aligned, epsilon };
        to.push(spread.form(&FORMS), spread.grid(), ROW_THREADS, &parameters);
        Ok(())
    }
}
