//! LayerNorm with gain and bias, row by row: y = (x - mean) / sqrt(variance + epsilon) gain + bias.

mod cuda;

use crate::device::cpu;
use crate::device::cuda::{Launches, Operands};
use crate::error::Result;
use crate::kernels::contract::{Contract, Operand, Shapes, expect_shape};
use crate::kernels::layer_norm::statistics;
use crate::kernels::parallel;
use crate::tensor::TensorId;
use multiversion::multiversion;

/// y `[.., columns]`; variance is biased.
#[derive(Debug, Clone)]
pub struct LayerNormAffine {
    /// x, as `y`.
    pub x: TensorId,
    /// `[columns]`.
    pub gain: TensorId,
    /// `[columns]`.
    pub bias: TensorId,
    /// Added to the variance.
    pub epsilon: f32,
    /// y.
    pub y: TensorId,
}

impl Contract for LayerNormAffine {
    fn operands(&mut self) -> Vec<Operand<'_>> {
        vec![
            Operand::Read(&mut self.x),
            Operand::Read(&mut self.gain),
            Operand::Read(&mut self.bias),
            Operand::Write(&mut self.y),
        ]
    }

    fn check(&self, shapes: &dyn Shapes) -> Result<()> {
        let x = shapes.shape(self.x);
        expect_shape("LayerNormAffine", "gain", &[x.columns()].into(), shapes.shape(self.gain))?;
        expect_shape("LayerNormAffine", "bias", &[x.columns()].into(), shapes.shape(self.bias))?;
        expect_shape("LayerNormAffine", "y", x, shapes.shape(self.y))
    }

    fn run_on_cpu(&self, operands: &cpu::Operands<'_>) -> Result<()> {
        let (x, columns) = (operands.read(self.x), operands.shape(self.x).columns());
        let (gain, bias) = (operands.read(self.gain), operands.read(self.bias));
        parallel::over_rows(operands.write(self.y), columns, |first, rows| {
            for (row, y) in (first..).zip(rows.chunks_exact_mut(columns)) {
                normalise(y, &x[row * columns..][..columns], gain, bias, self.epsilon);
            }
        });
        Ok(())
    }

    fn launch(&self, kernel: &'static str, operands: &Operands<'_>, to: &mut Launches) -> Result<()> {
        self.launch_on_card(kernel, operands, to)
    }
}

#[multiversion(targets("x86_64+avx512f+avx512vl+avx512bw+avx512dq", "x86_64+avx2"))]
fn normalise(y: &mut [f32], x: &[f32], gain: &[f32], bias: &[f32], epsilon: f32) {
    let (mean, rstd) = statistics(x, epsilon);
    for (((y, x), gain), bias) in y.iter_mut().zip(x).zip(gain).zip(bias) {
        *y = (x - mean) * rstd * gain + bias;
    }
}
