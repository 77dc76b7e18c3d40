//! a * b on a card.

use crate::device::cuda::{Launches, Operands};
use crate::error::Result;
use crate::kernels::gated_multiply::GatedMultiply;
use crate::kernels::parameters::{ELEMENTWISE_THREADS, GatedMultiplyParams};
use crate::kernels::spread::Elements;

impl GatedMultiply {
    pub(super) fn launch_on_card(
        &self,
        kernel: &str,
        operands: &Operands<'_>,
        to: &mut Launches,
    ) -> Result<()> {
        let (a, b) = (operands.bf16(kernel, self.a.to)?, operands.bf16(kernel, self.b)?);
        let spread = Elements::new(operands.shape(self.b), &[a, b]);
        let Elements { elements, aligned } = spread;
        let parameters = GatedMultiplyParams { a, b, elements, aligned, reserved: 0 };
        to.push("gated_multiply", spread.grid(kernel)?, ELEMENTWISE_THREADS, &parameters);
        Ok(())
    }
}
