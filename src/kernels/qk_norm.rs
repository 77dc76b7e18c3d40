//! RMSNorm of queries and keys, head by head (eps 1e-6): y = x w / sqrt(mean(x^2) + eps). Values pass.

mod cuda;

use crate::device::cpu;
use crate::device::cuda::{Architecture, Launches, Operands};
use crate::error::Result;
use crate::kernels::contract::{Contract, Operand, Shapes, Update, expect, expect_shape};
use crate::kernels::layer_norm::EPSILON;
use crate::kernels::{parallel, scalar};
use crate::tensor::TensorId;
use multiversion::multiversion;

/// A part of the columns that is normalised: `heads` heads from column `first`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// First column.
    pub first: usize,
    /// Gain, `[head dim]`.
    pub weight: TensorId,
}

/// Normalises parts of the columns of qkv in place.
#[derive(Debug, Clone)]
pub struct QkNorm {
    /// Queries (if any) and keys.
    pub parts: Vec<Part>,
    /// Heads of a part.
    pub heads: usize,
    /// `[.., columns]`, before and after.
    pub qkv: Update,
}

/// Gradient with respect to what was normalised, in place of the gradient of the result.
#[derive(Debug, Clone)]
pub struct QkNormGradient {
    /// Queries (if any) and keys.
    pub parts: Vec<Part>,
    /// Heads of a part.
    pub heads: usize,
    /// What the forward kernel started from.
    pub qkv: TensorId,
    /// Gradient after and before.
    pub dqkv: Update,
}

/// dw (+)= the sum over rows and heads of dy x / rms(x), for one part.
#[derive(Debug, Clone)]
pub struct QkNormWeightGradient {
    /// The part whose gain is differentiated.
    pub part: Part,
    /// Heads of a part.
    pub heads: usize,
    /// What the forward kernel started from.
    pub qkv: TensorId,
    /// Gradient of the result.
    pub dqkv: TensorId,
    /// `[head dim]`.
    pub dweight: Update,
}

pub(in crate::kernels) fn check_parts(
    kernel: &str,
    parts: &[Part],
    heads: usize,
    columns: usize,
    shapes: &dyn Shapes,
) -> Result<()> {
    parts.iter().try_for_each(|part| {
        let dim = shapes.shape(part.weight).elements();
        expect(kernel, part.first + heads * dim <= columns, || {
            format!("{heads} heads of {dim} from column {} of {columns}", part.first)
        })
    })
}

impl Contract for QkNorm {
    fn operands(&mut self) -> Vec<Operand<'_>> {
        let weights = self.parts.iter_mut().map(|part| Operand::Read(&mut part.weight));
        weights.chain([Operand::Update(&mut self.qkv)]).collect()
    }

    fn check(&self, shapes: &dyn Shapes) -> Result<()> {
        expect("QkNorm", self.qkv.accumulates(), || "there is nothing to normalise".to_owned())?;
        check_parts("QkNorm", &self.parts, self.heads, shapes.shape(self.qkv.to).columns(), shapes)
    }

    fn run_on_cpu(&self, operands: &cpu::Operands<'_>) -> Result<()> {
        let columns = operands.shape(self.qkv.to).columns();
        parallel::over_rows(operands.write(self.qkv.to), columns, |_, rows| {
            for row in rows.chunks_exact_mut(columns) {
                for part in &self.parts {
                    let weight = operands.read(part.weight);
                    let heads = &mut row[part.first..part.first + self.heads * weight.len()];
                    heads.chunks_exact_mut(weight.len()).for_each(|x| normalise(x, weight));
                }
            }
        });
        Ok(())
    }

    fn launch(&self, kernel: &'static str, operands: &Operands<'_>, to: &mut Launches) -> Result<()> {
        self.launch_on_card(kernel, operands, to)
    }
}

#[inline(always)]
fn reciprocal_rms(x: &[f32]) -> f32 {
    1.0 / (scalar::sum(x, |x| x * x) / x.len() as f32 + EPSILON).sqrt()
}

#[multiversion(targets("x86_64+avx512f+avx512vl+avx512bw+avx512dq", "x86_64+avx2"))]
fn normalise(x: &mut [f32], weight: &[f32]) {
    let r = reciprocal_rms(x);
    for (x, w) in x.iter_mut().zip(weight) {
        *x = *x * r * w;
    }
}

impl Contract for QkNormGradient {
    fn operands(&mut self) -> Vec<Operand<'_>> {
        let weights = self.parts.iter_mut().map(|part| Operand::Read(&mut part.weight));
        weights.chain([Operand::Read(&mut self.qkv), Operand::Update(&mut self.dqkv)]).collect()
    }

    fn check(&self, shapes: &dyn Shapes) -> Result<()> {
        let kernel = "QkNormGradient";
        expect(kernel, self.dqkv.accumulates(), || "there is no gradient to pass on".to_owned())?;
        expect_shape(kernel, "dqkv", shapes.shape(self.qkv), shapes.shape(self.dqkv.to))?;
        check_parts(kernel, &self.parts, self.heads, shapes.shape(self.qkv).columns(), shapes)
    }

    fn run_on_cpu(&self, operands: &cpu::Operands<'_>) -> Result<()> {
        let (qkv, columns) = (operands.read(self.qkv), operands.shape(self.qkv).columns());
        parallel::over_rows(operands.write(self.dqkv.to), columns, |first, rows| {
            for (row, gradient) in (first..).zip(rows.chunks_exact_mut(columns)) {
                let x = &qkv[row * columns..][..columns];
                for part in &self.parts {
                    let weight = operands.read(part.weight);
                    let range = part.first..part.first + self.heads * weight.len();
                    let heads = gradient[range.clone()].chunks_exact_mut(weight.len());
                    let inputs = x[range].chunks_exact(weight.len());
                    heads.zip(inputs).for_each(|(g, x)| normalise_gradient(g, x, weight));
                }
            }
        });
        Ok(())
    }

    fn launch(&self, kernel: &'static str, operands: &Operands<'_>, to: &mut Launches) -> Result<()> {
        self.launch_on_card(kernel, operands, to)
    }
}

#[multiversion(targets("x86_64+avx512f+avx512vl+avx512bw+avx512dq", "x86_64+avx2"))]
fn normalise_gradient(gradient: &mut [f32], x: &[f32], weight: &[f32]) {
    let r = reciprocal_rms(x);
    let along = scalar::sum3(gradient, weight, x, |g, w, x| g * w * x) / x.len() as f32 * r * r;
    for ((g, x), w) in gradient.iter_mut().zip(x).zip(weight) {
        *g = r * (*g * w - x * along);
    }
}

impl Contract for QkNormWeightGradient {
    fn operands(&mut self) -> Vec<Operand<'_>> {
        vec![Operand::Read(&mut self.qkv), Operand::Read(&mut self.dqkv), Operand::Update(&mut self.dweight)]
    }

    fn exact(&self) -> Vec<TensorId> {
        vec![self.dweight.to]
    }

    fn check(&self, shapes: &dyn Shapes) -> Result<()> {
        let kernel = "QkNormWeightGradient";
        expect_shape(kernel, "dqkv", shapes.shape(self.qkv), shapes.shape(self.dqkv))?;
        expect_shape(kernel, "dw", shapes.shape(self.part.weight), shapes.shape(self.dweight.to))
    }

    fn run_on_cpu(&self, operands: &cpu::Operands<'_>) -> Result<()> {
        let (x, dy) = (operands.read(self.qkv), operands.read(self.dqkv));
        let columns = operands.shape(self.qkv).columns();
        let dweight = operands.write(self.dweight.to);
        if !self.dweight.accumulates() {
            dweight.fill(0.0);
        }
        let part = self.part.first..self.part.first + self.heads * dweight.len();
        for (x, dy) in x.chunks_exact(columns).zip(dy.chunks_exact(columns)) {
            let heads = x[part.clone()].chunks_exact(dweight.len());
            for (x, dy) in heads.zip(dy[part.clone()].chunks_exact(dweight.len())) {
                let r = reciprocal_rms(x);
                dweight.iter_mut().zip(x).zip(dy).for_each(|((dw, x), dy)| *dw += dy * x * r);
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
