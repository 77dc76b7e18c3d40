//! RMSNorm of whole rows: y = x gain / sqrt(mean(x^2) + epsilon).

mod cuda;

use crate::device::cpu;
use crate::device::cuda::{Launches, Operands};
use crate::error::Result;
use crate::kernels::contract::{Contract, Operand, Shapes, expect_shape};
use crate::kernels::{parallel, scalar};
use crate::tensor::TensorId;
use multiversion::multiversion;

/// y `[.., columns]`.
#[derive(Debug, Clone)]
pub struct RmsNorm {
    /// x, as `y`.
    pub x: TensorId,
    /// `[columns]`.
    pub gain: TensorId,
    /// Added to the mean square.
    pub epsilon: f32,
    /// y.
    pub y: TensorId,
}

impl Contract for RmsNorm {
    fn operands(&mut self) -> Vec<Operand<'_>> {
        vec![Operand::Read(&mut self.x), Operand::Read(&mut self.gain), Operand::Write(&mut self.y)]
    }

    fn check(&self, shapes: &dyn Shapes) -> Result<()> {
        let x = shapes.shape(self.x);
        expect_shape("RmsNorm", "gain", &[x.columns()].into(), shapes.shape(self.gain))?;
        expect_shape("RmsNorm", "y", x, shapes.shape(self.y))
    }

    fn run_on_cpu(&self, operands: &cpu::Operands<'_>) -> Result<()> {
        let (x, columns) = (operands.read(self.x), operands.shape(self.x).columns());
        let gain = operands.read(self.gain);
        parallel::over_rows(operands.write(self.y), columns, |first, rows| {
            for (row, y) in (first..).zip(rows.chunks_exact_mut(columns)) {
                normalise(y, &x[row * columns..][..columns], gain, self.epsilon);
            }
        });
        Ok(())
    }

    fn launch(&self, kernel: &'static str, operands: &Operands<'_>, to: &mut Launches) -> Result<()> {
        self.launch_on_card(kernel, operands, to)
    }
}

#[multiversion(targets("x86_64+avx512f+avx512vl+avx512bw+avx512dq", "x86_64+avx2"))]
fn normalise(y: &mut [f32], x: &[f32], gain: &[f32], epsilon: f32) {
    let mean_square = scalar::sum(x, |x| x * x) / x.len() as f32;
    let r = 1.0 / (mean_square + epsilon).sqrt();
    for ((y, x), gain) in y.iter_mut().zip(x).zip(gain) {
        *y = x * r * gain;
    }
}
