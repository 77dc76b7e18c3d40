//! Activations: y = f(x), elementwise.

mod cuda;

use crate::device::cpu;
use crate::device::cuda::{Launches, Operands};
use crate::error::Result;
use crate::kernels::contract::{Contract, Operand, Shapes, Update, expect_shape};
use crate::kernels::{parallel, scalar};
use crate::tensor::TensorId;
use multiversion::multiversion;

/// Which activation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// GELU in its tanh form: MMDiT's and T5's.
    GeluTanh,
    /// GELU by the error function: OpenCLIP bigG's.
    GeluErf,
    /// x sigmoid(1.702 x): CLIP-L's.
    QuickGelu,
    /// x sigmoid(x).
    Silu,
}

impl Activation {
    /// f(x).
    #[inline(always)]
    pub fn value(self, x: f32) -> f32 {
        match self {
            Self::GeluTanh => 0.5 * x * (1.0 + scalar::tanh(gelu_inner(x))),
            Self::GeluErf => 0.5 * x * (1.0 + scalar::erf(x * std::f32::consts::FRAC_1_SQRT_2)),
            Self::QuickGelu => x * scalar::sigmoid(1.702 * x),
            Self::Silu => x * scalar::sigmoid(x),
        }
    }

    /// f'(x).
    #[inline(always)]
    pub fn slope(self, x: f32) -> f32 {
        match self {
            Self::GeluTanh => {
                let t = scalar::tanh(gelu_inner(x));
                let inner_slope = GELU_SCALE * (1.0 + 3.0 * GELU_CUBIC * x * x);
                0.5 * (1.0 + t) + 0.5 * x * (1.0 - t * t) * inner_slope
            }
            Self::GeluErf => {
                const SQRT_2_PI_INVERSE: f32 = 0.398_942_3;
                let cdf = 0.5 * (1.0 + scalar::erf(x * std::f32::consts::FRAC_1_SQRT_2));
                cdf + x * SQRT_2_PI_INVERSE * scalar::exp(-0.5 * x * x)
            }
            Self::QuickGelu => {
                let s = scalar::sigmoid(1.702 * x);
                s * (1.0 + 1.702 * x * (1.0 - s))
            }
            Self::Silu => {
                let s = scalar::sigmoid(x);
                s * (1.0 + x * (1.0 - s))
            }
        }
    }
}

/// sqrt(2 / pi).
const GELU_SCALE: f32 = 0.797_884_6;
const GELU_CUBIC: f32 = 0.044_715;

#[inline(always)]
fn gelu_inner(x: f32) -> f32 {
    GELU_SCALE * (x + GELU_CUBIC * x * x * x)
}

/// y = f(x).
#[derive(Debug, Clone)]
pub struct Activate {
    /// f.
    pub activation: Activation,
    /// Any shape.
    pub x: TensorId,
    /// As `x`.
    pub y: TensorId,
}

impl Contract for Activate {
    fn operands(&mut self) -> Vec<Operand<'_>> {
        vec![Operand::Read(&mut self.x), Operand::Write(&mut self.y)]
    }

    fn check(&self, shapes: &dyn Shapes) -> Result<()> {
        expect_shape("Activate", "y", shapes.shape(self.x), shapes.shape(self.y))
    }

    fn run_on_cpu(&self, operands: &cpu::Operands<'_>) -> Result<()> {
        let x = operands.read(self.x);
        parallel::over_rows(operands.write(self.y), 1, |first, y| {
            let x = &x[first..first + y.len()];
            // One loop an activation, so that each is vector code without a branch inside.
            match self.activation {
                Activation::GeluTanh => values(y, x, |x| Activation::GeluTanh.value(x)),
                Activation::GeluErf => values(y, x, |x| Activation::GeluErf.value(x)),
                Activation::QuickGelu => values(y, x, |x| Activation::QuickGelu.value(x)),
                Activation::Silu => values(y, x, |x| Activation::Silu.value(x)),
            }
        });
        Ok(())
    }

    fn launch(&self, kernel: &'static str, operands: &Operands<'_>, to: &mut Launches) -> Result<()> {
        self.launch_on_card(kernel, operands, to)
    }
}

/// dx (+)= f'(x) dy.
#[derive(Debug, Clone)]
pub struct ActivateGradient {
    /// f.
    pub activation: Activation,
    /// Input of the forward kernel.
    pub x: TensorId,
    /// As `x`.
    pub dy: TensorId,
    /// As `x`.
    pub dx: Update,
}

impl Contract for ActivateGradient {
    fn operands(&mut self) -> Vec<Operand<'_>> {
        vec![Operand::Read(&mut self.x), Operand::Read(&mut self.dy), Operand::Update(&mut self.dx)]
    }

    fn check(&self, shapes: &dyn Shapes) -> Result<()> {
        expect_shape("ActivateGradient", "dy", shapes.shape(self.x), shapes.shape(self.dy))?;
        expect_shape("ActivateGradient", "dx", shapes.shape(self.x), shapes.shape(self.dx.to))
    }

    fn run_on_cpu(&self, operands: &cpu::Operands<'_>) -> Result<()> {
        let (x, dy) = (operands.read(self.x), operands.read(self.dy));
        let accumulates = self.dx.accumulates();
        parallel::over_rows(operands.write(self.dx.to), 1, |first, dx| {
            let range = first..first + dx.len();
            let (x, dy) = (&x[range.clone()], &dy[range]);
            match self.activation {
                Activation::GeluTanh => slopes(dx, x, dy, accumulates, |x| Activation::GeluTanh.slope(x)),
                Activation::GeluErf => slopes(dx, x, dy, accumulates, |x| Activation::GeluErf.slope(x)),
                Activation::QuickGelu => slopes(dx, x, dy, accumulates, |x| Activation::QuickGelu.slope(x)),
                Activation::Silu => slopes(dx, x, dy, accumulates, |x| Activation::Silu.slope(x)),
            }
        });
        Ok(())
    }

    fn launch(&self, kernel: &'static str, operands: &Operands<'_>, to: &mut Launches) -> Result<()> {
        self.launch_on_card(kernel, operands, to)
    }
}

#[multiversion(targets("x86_64+avx512f+avx512vl+avx512bw+avx512dq", "x86_64+avx2"))]
fn values<F: Fn(f32) -> f32 + Copy>(y: &mut [f32], x: &[f32], f: F) {
    for (y, &x) in y.iter_mut().zip(x) {
        *y = f(x);
    }
}

#[multiversion(targets("x86_64+avx512f+avx512vl+avx512bw+avx512dq", "x86_64+avx2"))]
fn slopes<F: Fn(f32) -> f32 + Copy>(dx: &mut [f32], x: &[f32], dy: &[f32], accumulates: bool, slope: F) {
    if !accumulates {
        dx.fill(0.0);
    }
    for ((dx, &x), &dy) in dx.iter_mut().zip(x).zip(dy) {
        *dx += slope(x) * dy;
    }
}
