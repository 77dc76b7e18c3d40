//! DoRA (arXiv 2402.09353): the scale m / |W + s B A| of every output, and the gradient of the magnitudes m.
//!
//! The norm counts as a constant (section 4.3 there), so no gradient leads through it.

mod cuda;

use crate::device::cuda::{Architecture, Launches, Operands};
use crate::device::{Limits, cpu};
use crate::error::Result;
use crate::kernels::contract::{Contract, Operand, Shapes, Update, expect, expect_shape};
use crate::kernels::matrix::{MatrixMut, multiply, rows_of};
use crate::kernels::parallel::over_lanes;
use crate::tensor::TensorId;
use std::ops::Range;

/// Rows whose lengths are found together.
const ROWS_A_PART: usize = 64;

/// The low-rank change of a weight.
#[derive(Debug, Clone, Copy)]
pub struct LowRankChange {
    /// A, `[rank, in]`.
    pub a: TensorId,
    /// B, `[rows, rank]`.
    pub b: TensorId,
    /// alpha / rank.
    pub scale: f32,
}

/// `norm` = the lengths of the rows of W + s B A; `scale` = m / `norm`.
#[derive(Debug, Clone)]
pub struct MagnitudeScale {
    /// W, `[out of all, in]`.
    pub weight: TensorId,
    /// The rows of W in question.
    pub rows: Range<usize>,
    /// Its change, where W does not hold it already.
    pub change: Option<LowRankChange>,
    /// m, `[rows]`.
    pub magnitude: TensorId,
    /// `[rows]`.
    pub norm: TensorId,
    /// `[rows]`.
    pub scale: TensorId,
}

/// dm (+)= d scale / `norm`.
#[derive(Debug, Clone)]
pub struct MagnitudeGradient {
    /// d scale, `[rows]`.
    pub dscale: TensorId,
    /// `[rows]`.
    pub norm: TensorId,
    /// dm, `[rows]`.
    pub dmagnitude: Update,
}

/// The length of a row.
pub fn length(row: &[f32]) -> f32 {
    row.iter().map(|&value| f64::from(value) * f64::from(value)).sum::<f64>().sqrt() as f32
}

impl Contract for MagnitudeScale {
    fn operands(&mut self) -> Vec<Operand<'_>> {
        let mut all = vec![Operand::Read(&mut self.weight), Operand::Read(&mut self.magnitude)];
        let change = self.change.iter_mut().flat_map(|change| [&mut change.a, &mut change.b]);
        all.extend(change.map(Operand::Read));
        all.extend([Operand::Write(&mut self.norm), Operand::Write(&mut self.scale)]);
        all
    }

    fn exact(&self) -> Vec<TensorId> {
        vec![self.norm]
    }

    fn check(&self, shapes: &dyn Shapes) -> Result<()> {
        const KERNEL: &str = "MagnitudeScale";
        let (weight, rows) = (shapes.shape(self.weight), self.rows.len());
        expect(KERNEL, self.rows.end <= weight.rows(), || format!("rows {:?} of W {weight}", self.rows))?;
        for (name, id) in [("m", self.magnitude), ("the norm", self.norm), ("the scale", self.scale)] {
            expect_shape(KERNEL, name, &[rows].into(), shapes.shape(id))?;
        }
        let Some(LowRankChange { a, b, .. }) = self.change else { return Ok(()) };
        let rank = shapes.shape(a).rows();
        expect_shape(KERNEL, "A", &[rank, weight.columns()].into(), shapes.shape(a))?;
        expect_shape(KERNEL, "B", &[rows, rank].into(), shapes.shape(b))
    }

    fn flops(&self, shapes: &dyn Shapes) -> u64 {
        let product = |change: LowRankChange| shapes.shape(change.a).elements() * self.rows.len();
        2 * self.change.map_or(0, product) as u64
    }

    fn workspace(&self, shapes: &dyn Shapes, limits: &Limits) -> usize {
        limits.lanes * ROWS_A_PART * shapes.shape(self.weight).columns() * size_of::<f32>()
    }

    fn run_on_cpu(&self, operands: &cpu::Operands<'_>) -> Result<()> {
        let weight = rows_of(operands, self.weight).rows_in(self.rows.clone());
        let norms = operands.write(self.norm);
        let parts: Vec<_> = norms.chunks_mut(ROWS_A_PART).enumerate().collect();
        over_lanes(parts, operands.lanes(), |(part, norms), scratch| {
            let (first, columns) = (part * ROWS_A_PART, weight.columns());
            let rows = first..first + norms.len();
            let mut changed = MatrixMut::new(&mut scratch[..norms.len() * columns], norms.len(), columns);
            for (local, row) in rows.clone().enumerate() {
                changed.row_mut(local).copy_from_slice(weight.row(row));
            }
            if let Some(LowRankChange { a, b, scale }) = self.change {
                let b = rows_of(operands, b).rows_in(rows);
                multiply(&mut changed, true, scale, b, rows_of(operands, a));
            }
            norms.iter_mut().enumerate().for_each(|(row, norm)| *norm = length(changed.row_mut(row)));
        });
        let values = operands.read(self.magnitude).iter().zip(operands.read(self.norm));
        operands.write(self.scale).iter_mut().zip(values).for_each(|(scale, (m, norm))| *scale = m / norm);
        Ok(())
    }

    fn cuda_workspace(&self, shapes: &dyn Shapes, architecture: &Architecture) -> usize {
        self.workspace_on_card(shapes, architecture)
    }

    fn launch(&self, kernel: &'static str, operands: &Operands<'_>, to: &mut Launches) -> Result<()> {
        self.launch_on_card(kernel, operands, to)
    }
}

impl Contract for MagnitudeGradient {
    fn operands(&mut self) -> Vec<Operand<'_>> {
        let reads = [&mut self.dscale, &mut self.norm].map(Operand::Read);
        reads.into_iter().chain([Operand::Update(&mut self.dmagnitude)]).collect()
    }

    fn exact(&self) -> Vec<TensorId> {
        self.dmagnitude.tensors().chain([self.dscale, self.norm]).collect()
    }

    fn check(&self, shapes: &dyn Shapes) -> Result<()> {
        let expected = shapes.shape(self.dmagnitude.to);
        expect_shape("MagnitudeGradient", "d scale", expected, shapes.shape(self.dscale))?;
        expect_shape("MagnitudeGradient", "the norm", expected, shapes.shape(self.norm))
    }

    fn run_on_cpu(&self, operands: &cpu::Operands<'_>) -> Result<()> {
        let values = operands.read(self.dscale).iter().zip(operands.read(self.norm));
        let out = operands.write(self.dmagnitude.to);
        for (out, (dscale, norm)) in out.iter_mut().zip(values) {
            let before = if self.dmagnitude.accumulates() { *out } else { 0.0 };
            *out = before + dscale / norm;
        }
        Ok(())
    }

    fn launch(&self, kernel: &'static str, operands: &Operands<'_>, to: &mut Launches) -> Result<()> {
        self.launch_on_card(kernel, operands, to)
    }
}

#[cfg(test)]
mod tests;
