//! Casts on a card.

use crate::device::cuda::{Launches, Operands};
use crate::error::Result;
use crate::kernels::cast::Cast;
use crate::kernels::parameters::{CastParams, ELEMENTWISE_THREADS};
use crate::kernels::spread::Elements;
use crate::tensor::DType;

impl Cast {
    pub(super) fn launch_on_card(
        &self,
        kernel: &str,
        operands: &Operands<'_>,
        to: &mut Launches,
    ) -> Result<()> {
        let (symbol, dtype) = match operands.dtype(self.y) {
            DType::F32 => ("cast_f32", DType::F32),
            _ => ("cast_bf16", DType::Bf16),
        };
        let (x, y) = (operands.f32(kernel, self.x)?, operands.address(kernel, self.y, dtype)?);
        let spread = Elements::new(operands.shape(self.x), &[x, y]);
        let Elements { elements, aligned } = spread;
        let parameters = CastParams { x, y, elements, aligned, reserved: 0 };
        to.push(symbol, spread.grid(kernel)?, ELEMENTWISE_THREADS, &parameters);
        Ok(())
    }
}
