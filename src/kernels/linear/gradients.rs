//! Gradients of a linear layer: dX, the dense dW of an effective weight, and that of an output scale.

use super::{Base, Term, check_linear, weights_by_column};
use crate::device::cuda::{Architecture, Launches, Operands};
use crate::device::{Limits, cpu};
use crate::error::Result;
use crate::kernels::contract::{Contract, Operand, Shapes, Update, expect, expect_shape};
use crate::kernels::gemm::Places;
use crate::kernels::low_rank::{LowRankInputGradient, LowRankSide};
use crate::kernels::matrix::{Matrix, MatrixMut, multiply, rows_of};
use crate::kernels::parallel::{over_lanes, rows_a_product};
use crate::tensor::TensorId;
use rayon::prelude::*;

/// Rows that one part of the seldom-used gradients covers.
const ROWS_A_PART: usize = 128;

/// dX (+)= (scale * dY) W + dropout mask (dH A).
#[derive(Debug, Clone)]
pub struct LinearInputGradient {
    /// The frozen weight.
    pub base: Base,
    /// As in the forward kernel.
    pub terms: Vec<Term>,
    /// dY.
    pub dy: TensorId,
    /// The adapters' own way to dX, where it is part of the same kernel.
    pub low_rank: Option<LowRankSide>,
    /// dX.
    pub dx: Update,
}

impl LinearInputGradient {
    /// The adapters' own way to dX as a kernel that runs after the rest of this one.
    pub(super) fn after(&self) -> Option<LowRankInputGradient> {
        let LowRankSide { downs, dropout, dhidden } = self.low_rank.clone()?;
        let dx = Update { from: Some(self.dx.to), to: self.dx.to };
        Some(LowRankInputGradient { downs, dropout, dhidden, dx })
    }
}

/// dW (+)= (scale * dY)^T X for the columns of an effective weight.
#[derive(Debug, Clone)]
pub struct LinearWeightGradient {
    /// The term whose weight is differentiated.
    pub term: Term,
    /// X.
    pub x: TensorId,
    /// dY.
    pub dy: TensorId,
    /// `[columns, in]`.
    pub dw: Update,
}

/// d scale (+)= the sum over rows of dY (X W^T + s H B^T), for the columns of one term.
#[derive(Debug, Clone)]
pub struct OutputScaleGradient {
    /// The frozen weight.
    pub base: Base,
    /// The term whose scale is differentiated.
    pub term: Term,
    /// X.
    pub x: TensorId,
    /// H.
    pub hidden: Option<TensorId>,
    /// dY.
    pub dy: TensorId,
    /// `[columns]`.
    pub dscale: Update,
}

impl Contract for LinearInputGradient {
    fn operands(&mut self) -> Vec<Operand<'_>> {
        let mut all = vec![Operand::Read(&mut self.dy)];
        all.extend(self.base.operands(false));
        all.extend(self.terms.iter_mut().flat_map(Term::operands));
        all.extend(self.low_rank.iter_mut().flat_map(LowRankSide::operands));
        all.push(Operand::Update(&mut self.dx));
        all
    }

    fn exact(&self) -> Vec<TensorId> {
        self.after().map_or(Vec::new(), |after| after.exact())
    }

    fn check(&self, shapes: &dyn Shapes) -> Result<()> {
        let pair = (shapes.shape(self.dx.to), shapes.shape(self.dy));
        check_linear("LinearInputGradient", &self.base, &self.terms, pair, shapes)?;
        self.after().map_or(Ok(()), |after| after.check(shapes))
    }

    fn flops(&self, shapes: &dyn Shapes) -> u64 {
        let own = 2 * (shapes.shape(self.dx.to).elements() * self.base.rows.len()) as u64;
        own + self.after().map_or(0, |after| after.flops(shapes))
    }

    fn workspace(&self, shapes: &dyn Shapes, limits: &Limits) -> usize {
        let after = self.after().map_or(0, |after| after.workspace(shapes, limits));
        if self.terms.iter().all(|term| term.output_scale.is_none()) {
            return after;
        }
        let dy = shapes.shape(self.dy);
        after.max(limits.lanes * rows_a_product(dy.rows(), limits) * dy.columns() * size_of::<f32>())
    }

    fn run_on_cpu(&self, operands: &cpu::Operands<'_>) -> Result<()> {
        let dy = rows_of(operands, self.dy);
        let pieces = weights_by_column(&self.base, &self.terms, operands);
        let columns = operands.shape(self.dx.to).columns();
        let dx = MatrixMut::new(operands.write(self.dx.to), dy.rows(), columns);
        let height = rows_a_product(dy.rows(), operands.limits());
        let tasks: Vec<_> = dx.split_rows(height).into_iter().enumerate().collect();
        over_lanes(tasks, operands.lanes(), |(part, mut dx), scratch| {
            let rows = part * height..part * height + dx.rows();
            let dy = scaled_output_gradient(dy.rows_in(rows), &self.terms, scratch, operands);
            for (index, (columns, weight)) in pieces.iter().enumerate() {
                let accumulate = self.dx.accumulates() || index > 0;
                multiply(&mut dx, accumulate, 1.0, dy.columns_in(columns.clone()), *weight);
            }
        });
        self.after().map_or(Ok(()), |after| after.run_on_cpu(operands))
    }

    fn cuda_workspace(&self, shapes: &dyn Shapes, architecture: &Architecture) -> usize {
        self.workspace_on_card(shapes, architecture)
    }

    fn launch(&self, kernel: &'static str, operands: &Operands<'_>, to: &mut Launches) -> Result<()> {
        self.launch_on_card(kernel, operands, to)
    }
}

/// dY with every term's columns multiplied by its output scale; dY itself where no term has one.
fn scaled_output_gradient<'s>(
    dy: Matrix<'s>,
    terms: &[Term],
    scratch: &'s mut [f32],
    operands: &cpu::Operands<'_>,
) -> Matrix<'s> {
    if terms.iter().all(|term| term.output_scale.is_none()) {
        return dy;
    }
    let scratch = &mut scratch[..dy.rows() * dy.columns()];
    for (row, out) in scratch.chunks_exact_mut(dy.columns()).enumerate() {
        out.copy_from_slice(dy.row(row));
        for term in terms {
            if let Some(scale) = term.output_scale {
                let columns = &mut out[term.columns.clone()];
                columns.iter_mut().zip(operands.read(scale)).for_each(|(y, s)| *y *= s);
            }
        }
    }
    Matrix::new(scratch, dy.rows(), dy.columns())
}

impl Contract for LinearWeightGradient {
    fn operands(&mut self) -> Vec<Operand<'_>> {
        let mut all = vec![Operand::Read(&mut self.x), Operand::Read(&mut self.dy)];
        all.extend(self.term.output_scale.as_mut().map(Operand::Read));
        all.push(Operand::Update(&mut self.dw));
        all
    }

    fn exact(&self) -> Vec<TensorId> {
        self.dw.tensors().collect()
    }

    fn check(&self, shapes: &dyn Shapes) -> Result<()> {
        let (x, dy) = (shapes.shape(self.x), shapes.shape(self.dy));
        let expected = [self.term.columns.len(), x.columns()].into();
        expect_shape("LinearWeightGradient", "dW", &expected, shapes.shape(self.dw.to))?;
        expect("LinearWeightGradient", x.rows() == dy.rows() && self.term.columns.end <= dy.columns(), || {
            format!("X has shape {x}, dY {dy}")
        })
    }

    fn flops(&self, shapes: &dyn Shapes) -> u64 {
        2 * (shapes.shape(self.x).elements() * self.term.columns.len()) as u64
    }

    fn run_on_cpu(&self, operands: &cpu::Operands<'_>) -> Result<()> {
        let x = rows_of(operands, self.x);
        let dy = rows_of(operands, self.dy).columns_in(self.term.columns.clone());
        let scale = self.term.output_scale.map(|id| operands.read(id));
        let dw = MatrixMut::new(operands.write(self.dw.to), dy.columns(), x.columns());
        dw.split_rows(ROWS_A_PART).into_par_iter().enumerate().for_each(|(part, mut dw)| {
            let outs = part * ROWS_A_PART..part * ROWS_A_PART + dw.rows();
            for (row, out) in outs.enumerate() {
                // A row at a time: each output has a scale of its own.
                let column = dy.columns_in(out..out + 1).transposed();
                let scale = scale.map_or(1.0, |s| s[out]);
                multiply(&mut dw.rows_in(row..row + 1), self.dw.accumulates(), scale, column, x);
            }
        });
        Ok(())
    }

    fn cuda_workspace(&self, shapes: &dyn Shapes, architecture: &Architecture) -> usize {
        let group = self.group("LinearWeightGradient", Places::Planned(shapes));
        group.map_or(0, |group| group.workspace(architecture))
    }

    fn launch(&self, kernel: &'static str, operands: &Operands<'_>, to: &mut Launches) -> Result<()> {
        let group = self.group(kernel, Places::OnCard(operands))?;
        group.launch(operands.workspace().0, &operands.architecture(), to)
    }
}

impl Contract for OutputScaleGradient {
    fn operands(&mut self) -> Vec<Operand<'_>> {
        let mut all = vec![Operand::Read(&mut self.x), Operand::Read(&mut self.dy)];
        all.extend(self.base.operands(false));
        all.extend(self.hidden.as_mut().map(Operand::Read));
        all.extend(self.term.operands());
        all.push(Operand::Update(&mut self.dscale));
        all
    }

    fn exact(&self) -> Vec<TensorId> {
        self.dscale.tensors().collect()
    }

    fn check(&self, shapes: &dyn Shapes) -> Result<()> {
        let pair = (shapes.shape(self.x), shapes.shape(self.dy));
        check_linear("OutputScaleGradient", &self.base, std::slice::from_ref(&self.term), pair, shapes)?;
        let expected = [self.term.columns.len()].into();
        expect_shape("OutputScaleGradient", "dscale", &expected, shapes.shape(self.dscale.to))
    }

    fn flops(&self, shapes: &dyn Shapes) -> u64 {
        2 * (shapes.shape(self.x).elements() * self.term.columns.len()) as u64
    }

    fn workspace(&self, _shapes: &dyn Shapes, limits: &Limits) -> usize {
        limits.lanes * ROWS_A_PART * self.term.columns.len() * size_of::<f32>()
    }

    fn run_on_cpu(&self, operands: &cpu::Operands<'_>) -> Result<()> {
        let (x, dy) = (rows_of(operands, self.x), rows_of(operands, self.dy));
        let hidden = self.hidden.map(|id| rows_of(operands, id));
        let weight = match self.term.effective(operands) {
            Some(weight) => weight,
            None => self.base.matrix(operands).rows_in(self.term.columns.clone()),
        };
        let unscaled = Term { output_scale: None, ..self.term.clone() };
        let dscale = operands.write(self.dscale.to);
        if !self.dscale.accumulates() {
            dscale.fill(0.0);
        }
        let columns = self.term.columns.clone();
        let scratch = operands.lanes().swap_remove(0);
        for first in (0..x.rows()).step_by(ROWS_A_PART) {
            let rows = first..(first + ROWS_A_PART).min(x.rows());
            let elements = rows.len() * columns.len();
            let mut y = MatrixMut::new(&mut scratch[..elements], rows.len(), columns.len());
            multiply(&mut y, false, 1.0, x.rows_in(rows.clone()), weight.transposed());
            unscaled.apply(&mut y, hidden, rows.clone(), operands);
            for (local, row) in rows.enumerate() {
                let dy = &dy.row(row)[columns.clone()];
                let y = &*y.row_mut(local);
                dscale.iter_mut().zip(y).zip(dy).for_each(|((sum, y), dy)| *sum += y * dy);
            }
        }
        Ok(())
    }

    fn cuda_workspace(&self, shapes: &dyn Shapes, architecture: &Architecture) -> usize {
        let group = self.group("OutputScaleGradient", Places::Planned(shapes));
        group.map_or(0, |group| group.workspace(architecture))
    }

    fn launch(&self, kernel: &'static str, operands: &Operands<'_>, to: &mut Launches) -> Result<()> {
        let group = self.group(kernel, Places::OnCard(operands))?;
        group.launch(operands.workspace().0, &operands.architecture(), to)
    }
}
