//! LayerNorm without affine (eps 1e-6), then modulation: y = LN(x) (1 + scale) + shift.
//!
//! Shift and scale are chunks of a sample's modulation vector, `[b, chunks * columns]`.

mod cuda;

use crate::device::cpu;
use crate::device::cuda::{Architecture, Launches, Operands};
use crate::error::Result;
use crate::kernels::contract::{Contract, Operand, Shapes, Update, expect, expect_shape};
use crate::kernels::{parallel, scalar};
use crate::tensor::TensorId;
use multiversion::multiversion;

/// SD3.5's epsilon of every norm in the transformer.
pub const EPSILON: f32 = 1e-6;

/// Where shift and scale lie in a modulation vector, counted in chunks of the stream's width.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Modulation {
    /// `[b, chunks * columns]`.
    pub vectors: TensorId,
    /// Chunk of the shift.
    pub shift: usize,
    /// Chunk of the scale.
    pub scale: usize,
}

/// y `[b, tokens, columns]`.
#[derive(Debug, Clone)]
pub struct LayerNormModulate {
    /// x, as `y`.
    pub x: TensorId,
    /// Shift and scale.
    pub modulation: Modulation,
    /// y.
    pub y: TensorId,
}

/// dx (+)= the gradient through modulation and norm.
#[derive(Debug, Clone)]
pub struct LayerNormModulateGradient {
    /// x.
    pub x: TensorId,
    /// Shift and scale.
    pub modulation: Modulation,
    /// dy.
    pub dy: TensorId,
    /// dx.
    pub dx: Update,
}

/// d shift (+)= the sum over tokens of dy; d scale (+)= the sum of dy LN(x).
#[derive(Debug, Clone)]
pub struct ModulationGradient {
    /// x.
    pub x: TensorId,
    /// Shift and scale.
    pub modulation: Modulation,
    /// dy.
    pub dy: TensorId,
    /// Gradient of the modulation vectors; other chunks are left alone (zero where nothing was there).
    pub dvectors: Update,
}

/// One sample's chunk of the modulation vectors.
pub fn chunk(vectors: &[f32], row_length: usize, sample: usize, chunk: usize, columns: usize) -> &[f32] {
    &vectors[sample * row_length + chunk * columns..][..columns]
}

impl Modulation {
    fn check(&self, kernel: &str, x: TensorId, shapes: &dyn Shapes) -> Result<()> {
        let (x, vectors) = (shapes.shape(x), shapes.shape(self.vectors));
        let last = self.shift.max(self.scale);
        let fits = vectors.rows() == x.dims()[0] && (last + 1) * x.columns() <= vectors.columns();
        expect(kernel, x.dims().len() == 3 && fits, || {
            format!("x has shape {x}, modulation {vectors}, chunk {last} is asked for")
        })
    }

    fn of_sample<'a>(
        &self,
        sample: usize,
        columns: usize,
        operands: &cpu::Operands<'a>,
    ) -> (&'a [f32], &'a [f32]) {
        let (vectors, length) = (operands.read(self.vectors), operands.shape(self.vectors).columns());
        (
            chunk(vectors, length, sample, self.shift, columns),
            chunk(vectors, length, sample, self.scale, columns),
        )
    }
}

impl Contract for LayerNormModulate {
    fn operands(&mut self) -> Vec<Operand<'_>> {
        vec![
            Operand::Read(&mut self.x),
            Operand::Read(&mut self.modulation.vectors),
            Operand::Write(&mut self.y),
        ]
    }

    fn exact(&self) -> Vec<TensorId> {
        vec![self.modulation.vectors]
    }

    fn check(&self, shapes: &dyn Shapes) -> Result<()> {
        self.modulation.check("LayerNormModulate", self.x, shapes)?;
        expect_shape("LayerNormModulate", "y", shapes.shape(self.x), shapes.shape(self.y))
    }

    fn run_on_cpu(&self, operands: &cpu::Operands<'_>) -> Result<()> {
        let (x, shape) = (operands.read(self.x), operands.shape(self.x));
        let (tokens, columns) = (shape.dims()[1], shape.columns());
        parallel::over_rows(operands.write(self.y), columns, |first, y| {
            for (row, y) in (first..).zip(y.chunks_exact_mut(columns)) {
                let (shift, scale) = self.modulation.of_sample(row / tokens, columns, operands);
                modulate(y, &x[row * columns..][..columns], shift, scale);
            }
        });
        Ok(())
    }

    fn launch(&self, kernel: &'static str, operands: &Operands<'_>, to: &mut Launches) -> Result<()> {
        self.launch_on_card(kernel, operands, to)
    }
}

/// Mean and reciprocal standard deviation (biased).
#[inline(always)]
pub fn statistics(x: &[f32], epsilon: f32) -> (f32, f32) {
    let n = x.len() as f32;
    let mean = scalar::sum(x, |x| x) / n;
    let variance = scalar::sum(x, |x| (x - mean) * (x - mean)) / n;
    (mean, 1.0 / (variance + epsilon).sqrt())
}

#[multiversion(targets("x86_64+avx512f+avx512vl+avx512bw+avx512dq", "x86_64+avx2"))]
fn modulate(y: &mut [f32], x: &[f32], shift: &[f32], scale: &[f32]) {
    let (mean, rstd) = statistics(x, EPSILON);
    for (((y, x), shift), scale) in y.iter_mut().zip(x).zip(shift).zip(scale) {
        *y = (x - mean) * rstd * (1.0 + scale) + shift;
    }
}

impl Contract for LayerNormModulateGradient {
    fn operands(&mut self) -> Vec<Operand<'_>> {
        vec![
            Operand::Read(&mut self.x),
            Operand::Read(&mut self.modulation.vectors),
            Operand::Read(&mut self.dy),
            Operand::Update(&mut self.dx),
        ]
    }

    fn exact(&self) -> Vec<TensorId> {
        vec![self.modulation.vectors]
    }

    fn check(&self, shapes: &dyn Shapes) -> Result<()> {
        let kernel = "LayerNormModulateGradient";
        self.modulation.check(kernel, self.x, shapes)?;
        expect_shape(kernel, "dy", shapes.shape(self.x), shapes.shape(self.dy))?;
        expect_shape(kernel, "dx", shapes.shape(self.x), shapes.shape(self.dx.to))
    }

    fn run_on_cpu(&self, operands: &cpu::Operands<'_>) -> Result<()> {
        let (x, dy, shape) = (operands.read(self.x), operands.read(self.dy), operands.shape(self.x));
        let (tokens, columns) = (shape.dims()[1], shape.columns());
        parallel::over_rows(operands.write(self.dx.to), columns, |first, dx| {
            for (row, dx) in (first..).zip(dx.chunks_exact_mut(columns)) {
                let (_, scale) = self.modulation.of_sample(row / tokens, columns, operands);
                let range = row * columns..(row + 1) * columns;
                if !self.dx.accumulates() {
                    dx.fill(0.0);
                }
                norm_gradient(dx, &x[range.clone()], &dy[range], scale);
            }
        });
        Ok(())
    }

    fn launch(&self, kernel: &'static str, operands: &Operands<'_>, to: &mut Launches) -> Result<()> {
        self.launch_on_card(kernel, operands, to)
    }
}

#[multiversion(targets("x86_64+avx512f+avx512vl+avx512bw+avx512dq", "x86_64+avx2"))]
fn norm_gradient(dx: &mut [f32], x: &[f32], dy: &[f32], scale: &[f32]) {
    let n = x.len() as f32;
    let (mean, rstd) = statistics(x, EPSILON);
    let through = scalar::sum2(dy, scale, |dy, scale| dy * (1.0 + scale)) / n;
    let along = scalar::sum3(dy, scale, x, |dy, scale, x| dy * (1.0 + scale) * ((x - mean) * rstd)) / n;
    for (((dx, x), dy), scale) in dx.iter_mut().zip(x).zip(dy).zip(scale) {
        *dx += rstd * (dy * (1.0 + scale) - through - (x - mean) * rstd * along);
    }
}

impl Contract for ModulationGradient {
    fn operands(&mut self) -> Vec<Operand<'_>> {
        vec![Operand::Read(&mut self.x), Operand::Read(&mut self.dy), Operand::Update(&mut self.dvectors)]
    }

    fn check(&self, shapes: &dyn Shapes) -> Result<()> {
        let kernel = "ModulationGradient";
        self.modulation.check(kernel, self.x, shapes)?;
        let vectors = shapes.shape(self.modulation.vectors);
        expect_shape(kernel, "dvectors", vectors, shapes.shape(self.dvectors.to))
    }

    fn run_on_cpu(&self, operands: &cpu::Operands<'_>) -> Result<()> {
        let (x, dy, shape) = (operands.read(self.x), operands.read(self.dy), operands.shape(self.x));
        let (tokens, columns) = (shape.dims()[1], shape.columns());
        let length = operands.shape(self.dvectors.to).columns();
        let dvectors = operands.write(self.dvectors.to);
        if !self.dvectors.accumulates() {
            dvectors.fill(0.0);
        }
        for (sample, dvector) in dvectors.chunks_exact_mut(length).enumerate() {
            for row in sample * tokens..(sample + 1) * tokens {
                let range = row * columns..(row + 1) * columns;
                let (x, dy) = (&x[range.clone()], &dy[range]);
                let (mean, rstd) = statistics(x, EPSILON);
                for (i, dy) in dy.iter().enumerate() {
                    dvector[self.modulation.shift * columns + i] += dy;
                    dvector[self.modulation.scale * columns + i] += dy * (x[i] - mean) * rstd;
                }
            }
        }
        Ok(())
    }

    fn cuda_workspace(&self, shapes: &dyn Shapes, _architecture: &Architecture) -> usize {
        self.workspace_on_card(shapes)
    }

    fn launch(&self, kernel: &'static str, operands: &Operands<'_>, to: &mut Launches) -> Result<()> {
        self.launch_on_card(kernel, operands, to)
    }
}
