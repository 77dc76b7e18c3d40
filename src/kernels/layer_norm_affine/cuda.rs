//! LayerNorm with gain and bias on a card.

use crate::device::cuda::{Launches, Operands};
use crate::error::Result;
use crate::kernels::layer_norm_affine::LayerNormAffine;
use crate::kernels::parameters::{LayerNormAffineParams, ROW_THREADS};
use crate::kernels::spread::{RowForms, Rows};
use crate::tensor::DType;

const FORMS: RowForms =
    ["layer_norm_affine_512", "layer_norm_affine_1536", "layer_norm_affine_2560", "layer_norm_affine_any"];

impl LayerNormAffine {
    pub(super) fn launch_on_card(
        &self,
        kernel: &str,
        operands: &Operands<'_>,
        to: &mut Launches,
    ) -> Result<()> {
        let dtype = operands.dtype(self.x);
        let (x, y) = (operands.address(kernel, self.x, dtype)?, operands.address(kernel, self.y, dtype)?);
        let (gain, bias) = (operands.bf16(kernel, self.gain)?, operands.bf16(kernel, self.bias)?);
        let spread = Rows::new(kernel, operands.shape(self.x), &[x, gain, bias, y])?;
        let Rows { rows, columns, aligned } = spread;
        let epsilon = self.epsilon;
        let parameters = LayerNormAffineParams { x, gain, bias, y, rows, columns, aligned, epsilon };
        let form = if dtype == DType::F32 { "layer_norm_affine_any_f32" } else { spread.form(&FORMS) };
        to.push(form, spread.grid(), ROW_THREADS, &parameters);
        Ok(())
    }
}
