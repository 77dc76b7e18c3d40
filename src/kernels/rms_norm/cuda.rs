//! RMSNorm of whole rows on a card.

use crate::device::cuda::{Launches, Operands};
use crate::error::Result;
use crate::kernels::parameters::{ROW_THREADS, RmsNormParams};
use crate::kernels::rms_norm::RmsNorm;
use crate::kernels::spread::{RowForms, Rows};

const FORMS: RowForms = ["rms_norm_512", "rms_norm_1536", "rms_norm_2560", "rms_norm_any"];

impl RmsNorm {
    pub(super) fn launch_on_card(
        &self,
        kernel: &str,
        operands: &Operands<'_>,
        to: &mut Launches,
    ) -> Result<()> {
        let (x, y) = (operands.bf16(kernel, self.x)?, operands.bf16(kernel, self.y)?);
        let gain = operands.bf16(kernel, self.gain)?;
        let spread = Rows::new(kernel, operands.shape(self.x), &[x, gain, y])?;
        let Rows { rows, columns, aligned } = spread;
        let parameters = RmsNormParams { x, gain, y, rows, columns, aligned, epsilon: self.epsilon };
        to.push(spread.form(&FORMS), spread.grid(), ROW_THREADS, &parameters);
        Ok(())
    }
}
