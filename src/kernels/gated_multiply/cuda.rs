//! a * b on a card.

use crate::device::cuda::{Launches, Operands};
use crate::error::Result;
use crate::kernels::gated_multiply::GatedMultiply;
use crate::kernels::parameters::{ELEMENTWISE_THREADS, GatedMultiplyParams};
use crate::kernels::spread::Elements;
use crate::tensor::DType;

impl GatedMultiply {
    pub(super) fn launch_on_card(
        &self,
        kernel: &str,
        operands: &Operands<'_>,
        to: &mut Launches,
    ) -> Result<()> {
        let (symbol, dtype) = match operands.dtype(self.b) {
            DType::F32 => ("gated_multiply_f32", DType::F32),
            _ => ("gated_multiply", DType::Bf16),
        };
        let (a, b) = (operands.address(kernel, self.a.to, dtype)?, operands.address(kernel, self.b, dtype)?);
        let spread = Elements::new(operands.shape(self.b), &[a, b]);
        let Elements { elements, aligned } = spread;
        let parameters = GatedMultiplyParams { a, b, elements, aligned, reserved: 0 };
        to.push(symbol, spread.grid(kernel)?, ELEMENTWISE_THREADS, &parameters);
        Ok(())
    }
}
