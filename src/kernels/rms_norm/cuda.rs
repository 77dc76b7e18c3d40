//! RMSNorm of whole rows on a card.

use crate::device::cuda::{Launches, Operands};
use crate::error::Result;
use crate::kernels::parameters::{ROW_THREADS, RmsNormParams};
use crate::kernels::rms_norm::RmsNorm;
use crate::kernels::spread::{RowForms, Rows};
use crate::tensor::DType;

const FORMS: RowForms = ["rms_norm_512", "rms_norm_1536", "rms_norm_2560", "rms_norm_any"];

impl RmsNorm {
    pub(super) fn launch_on_card(
        &self,
        kernel: &str,
        operands: &Operands<'_>,
        to: &mut Launches,
    ) -> Result<()> {
        let dtype = operands.dtype(self.x);
        let (x, y) = (operands.address(kernel, self.x, dtype)?, operands.address(kernel, self.y, dtype)?);
        let gain = operands.bf16(kernel, self.gain)?;
        let spread = Rows::new(kernel, operands.shape(self.x), &[x, gain, y])?;
        let Rows { rows, columns, aligned } = spread;
        let parameters = RmsNormParams { x, gain, y, rows, columns, aligned, epsilon: self.epsilon };
        let form = if dtype == DType::F32 { "rms_norm_any_f32" } else { spread.form(&FORMS) };
        to.push(form, spread.grid(), ROW_THREADS, &parameters);
        Ok(())
    }
}
