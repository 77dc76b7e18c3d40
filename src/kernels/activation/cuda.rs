//! Activations on a card.

use crate::device::cuda::{Launches, Operands};
use crate::error::Result;
use crate::kernels::activation::{Activate, ActivateGradient, Activation};
use crate::kernels::parameters::{ActivateGradientParams, ActivateParams, ELEMENTWISE_THREADS};
use crate::kernels::spread::Elements;
use crate::tensor::DType;

impl Activation {
    /// The symbols of the activation and of its gradient.
    fn symbols(self) -> (&'static str, &'static str) {
        match self {
            Self::GeluTanh => ("gelu_tanh", "gelu_tanh_gradient"),
            Self::GeluErf => ("gelu_erf", "gelu_erf_gradient"),
            Self::QuickGelu => ("quick_gelu", "quick_gelu_gradient"),
            Self::Silu => ("silu", "silu_gradient"),
        }
    }
}

impl Activation {
    /// The symbol of the activation of f32 values.
    fn symbol_of_f32(self) -> &'static str {
        match self {
            Self::GeluTanh => "gelu_tanh_f32",
            Self::GeluErf => "gelu_erf_f32",
            Self::QuickGelu => "quick_gelu_f32",
            Self::Silu => "silu_f32",
        }
    }
}

impl Activate {
    pub(super) fn launch_on_card(
        &self,
        kernel: &str,
        operands: &Operands<'_>,
        to: &mut Launches,
    ) -> Result<()> {
        let dtype = operands.dtype(self.x);
        let (x, y) = (operands.address(kernel, self.x, dtype)?, operands.address(kernel, self.y, dtype)?);
        let spread = Elements::new(operands.shape(self.x), &[x, y]);
        let Elements { elements, aligned } = spread;
        let parameters = ActivateParams { x, y, elements, aligned, reserved: 0 };
        let bf16 = self.activation.symbols().0;
        let symbol = if dtype == DType::F32 { self.activation.symbol_of_f32() } else { bf16 };
        to.push(symbol, spread.grid(kernel)?, ELEMENTWISE_THREADS, &parameters);
        Ok(())
    }
}

impl ActivateGradient {
    pub(super) fn launch_on_card(
        &self,
        kernel: &str,
        operands: &Operands<'_>,
        to: &mut Launches,
    ) -> Result<()> {
        let (x, dy) = (operands.bf16(kernel, self.x)?, operands.bf16(kernel, self.dy)?);
        let dx = operands.bf16(kernel, self.dx.to)?;
        let spread = Elements::new(operands.shape(self.x), &[x, dy, dx]);
        let Elements { elements, aligned } = spread;
        let accumulates = self.dx.accumulates().into();
        let parameters = ActivateGradientParams { x, dy, dx, elements, aligned, accumulates };
        to.push(self.activation.symbols().1, spread.grid(kernel)?, ELEMENTWISE_THREADS, &parameters);
        Ok(())
    }
}
