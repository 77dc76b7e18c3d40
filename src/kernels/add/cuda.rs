//! a + b on a card, in bf16 or f32.

use crate::device::cuda::{Launches, Operands};
use crate::error::Result;
use crate::kernels::add::Add;
use crate::kernels::parameters::{AddParams, ELEMENTWISE_THREADS};
use crate::kernels::spread::Elements;
use crate::tensor::DType;

impl Add {
    pub(super) fn launch_on_card(
        &self,
        kernel: &str,
        operands: &Operands<'_>,
        to: &mut Launches,
    ) -> Result<()> {
        let (symbol, dtype) = match operands.dtype(self.a.to) {
            DType::F32 => ("add_f32", DType::F32),
            _ => ("add_bf16", DType::Bf16),
        };
        let (a, b) = (operands.address(kernel, self.a.to, dtype)?, operands.address(kernel, self.b, dtype)?);
        let spread = Elements::new(operands.shape(self.a.to), &[a, b]);
        let Elements { elements, aligned } = spread;
        let parameters = AddParams { a, b, elements, aligned, reserved: 0 };
        to.push(symbol, spread.grid(kernel)?, ELEMENTWISE_THREADS, &parameters);
        Ok(())
    }
}
