//! Linear with adapters: Y = scale * (X W^T + s H B^T) + b, and its gradients.
//!
//! `H = X A^T` is a kernel of its own ([`crate::kernels::low_rank`]), shared by the projections that share X.
//! An adapter is a [`Term`] over a range of output columns: a low-rank pair, or an effective weight that
//! replaces those rows of W, each with an optional scale per output. LoRA, DoRA, LoKr and LoHa all lower to it.

use crate::device::cpu;
use crate::error::Result;
use crate::kernels::contract::{Contract, Operand, Shapes, Update, expect, expect_shape};
use crate::kernels::matrix::{Matrix, MatrixMut, multiply, rows_of};
use crate::kernels::parallel::{over_lanes, rows_a_product};
use crate::tensor::{Shape, TensorId};
use rayon::prelude::*;
use std::ops::Range;

/// Rows that one part of the seldom-used gradients covers.
const ROWS_A_PART: usize = 128;

/// What an adapter does to a range of output columns.
#[derive(Debug, Clone)]
pub struct Term {
    /// Output columns (rows of W, counted from [`Base::rows`]'s start).
    pub columns: Range<usize>,
    /// How those columns change.
    pub change: Change,
    /// `[columns]`: multiplies the columns before the bias is added.
    pub output_scale: Option<TensorId>,
}

/// The two forms that an adapter lowers to.
#[derive(Debug, Clone)]
pub enum Change {
    /// Adds `scale * H[:, hidden] B^T`.
    LowRank {
        /// This adapter's columns of H.
        hidden: Range<usize>,
        /// B, `[columns, rank]`.
        b: TensorId,
        /// alpha / rank.
        scale: f32,
    },
    /// Replaces the rows of W.
    Effective {
        /// `[columns, in]`.
        weight: TensorId,
    },
}

/// The frozen part of a linear layer.
#[derive(Debug, Clone)]
pub struct Base {
    /// W, `[out of all, in]`.
    pub weight: TensorId,
    /// The rows of W that this layer computes.
    pub rows: Range<usize>,
    /// `[out of all]`, added last.
    pub bias: Option<TensorId>,
}

/// Y `[.., out]` from X `[.., in]`.
#[derive(Debug, Clone)]
pub struct Linear {
    /// The frozen weight.
    pub base: Base,
    /// Adapters, over disjoint column ranges.
    pub terms: Vec<Term>,
    /// X.
    pub x: TensorId,
    /// H `[.., sum of ranks]`, where a term is low-rank.
    pub hidden: Option<TensorId>,
    /// Y.
    pub y: TensorId,
}

/// dX (+)= (scale * dY) W + dropout mask (dH A).
#[derive(Debug, Clone)]
pub struct LinearInputGradient {
    /// The frozen weight.
    pub base: Base,
    /// As in the forward kernel.
    pub terms: Vec<Term>,
    /// dY.
    pub dy: TensorId,
    /// dX.
    pub dx: Update,
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

impl Base {
    /// Its own operands.
    pub fn operands(&mut self, with_bias: bool) -> Vec<Operand<'_>> {
        let bias = self.bias.as_mut().filter(|_| with_bias);
        std::iter::once(&mut self.weight).chain(bias).map(Operand::Read).collect()
    }

    /// W as a window of the rows computed.
    fn matrix<'a>(&self, operands: &cpu::Operands<'a>) -> Matrix<'a> {
        let shape = operands.shape(self.weight);
        Matrix::new(operands.read(self.weight), shape.rows(), shape.columns()).rows_in(self.rows.clone())
    }

    /// The bias of the rows computed.
    fn bias<'a>(&self, operands: &cpu::Operands<'a>) -> Option<&'a [f32]> {
        Some(&operands.read(self.bias?)[self.rows.clone()])
    }
}

impl Term {
    /// Its own operands.
    pub fn operands(&mut self) -> Vec<Operand<'_>> {
        let change = match &mut self.change {
            Change::LowRank { b, .. } => b,
            Change::Effective { weight } => weight,
        };
        std::iter::once(change).chain(&mut self.output_scale).map(Operand::Read).collect()
    }

    /// The effective weight, if that is what this term is.
    fn effective<'a>(&self, operands: &cpu::Operands<'a>) -> Option<Matrix<'a>> {
        match self.change {
            Change::Effective { weight } => {
                let shape = operands.shape(weight);
                Some(Matrix::new(operands.read(weight), shape.rows(), shape.columns()))
            }
            Change::LowRank { .. } => None,
        }
    }
}

/// Pieces of the output columns, each with the weight that makes it: terms with effective weights, and the
/// stretches of the frozen weight between them.
fn weights_by_column<'a>(
    base: &Base,
    terms: &[Term],
    operands: &cpu::Operands<'a>,
) -> Vec<(Range<usize>, Matrix<'a>)> {
    let frozen = base.matrix(operands);
    let mut replaced: Vec<_> =
        terms.iter().filter_map(|t| Some((t.columns.clone(), t.effective(operands)?))).collect();
    replaced.sort_by_key(|(columns, _)| columns.start);
    let mut pieces = Vec::new();
    let mut next = 0;
    for (columns, weight) in replaced {
        if next < columns.start {
            pieces.push((next..columns.start, frozen.rows_in(next..columns.start)));
        }
        next = columns.end;
        pieces.push((columns, weight));
    }
    if next < base.rows.len() {
        pieces.push((next..base.rows.len(), frozen.rows_in(next..base.rows.len())));
    }
    pieces
}

/// Checks what a linear layer and its gradients share.
fn check_linear(
    kernel: &str,
    base: &Base,
    terms: &[Term],
    (x, y): (&Shape, &Shape),
    shapes: &dyn Shapes,
) -> Result<()> {
    let weight = shapes.shape(base.weight);
    expect(kernel, weight.dims().len() == 2 && weight.columns() == x.columns(), || {
        format!("W has shape {weight}, X {x}")
    })?;
    expect(kernel, base.rows.end <= weight.rows() && base.rows.len() == y.columns(), || {
        format!("rows {:?} of W {weight} make Y {y}", base.rows)
    })?;
    expect(kernel, x.rows() == y.rows(), || format!("X has shape {x}, Y {y}"))?;
    for term in terms {
        expect(kernel, term.columns.end <= y.columns(), || format!("columns {:?} of Y {y}", term.columns))?;
        let columns = term.columns.len();
        match &term.change {
            Change::LowRank { hidden, b, .. } => {
                expect_shape(kernel, "B", &[columns, hidden.len()].into(), shapes.shape(*b))?;
            }
            Change::Effective { weight } => {
                expect_shape(kernel, "effective W", &[columns, x.columns()].into(), shapes.shape(*weight))?;
            }
        }
        if let Some(scale) = term.output_scale {
            expect_shape(kernel, "output scale", &[columns].into(), shapes.shape(scale))?;
        }
    }
    Ok(())
}

impl Contract for Linear {
    fn operands(&mut self) -> Vec<Operand<'_>> {
        let mut all = vec![Operand::Read(&mut self.x)];
        all.extend(self.base.operands(true));
        all.extend(self.hidden.as_mut().map(Operand::Read));
        all.extend(self.terms.iter_mut().flat_map(Term::operands));
        all.push(Operand::Write(&mut self.y));
        all
    }

    fn check(&self, shapes: &dyn Shapes) -> Result<()> {
        let pair = (shapes.shape(self.x), shapes.shape(self.y));
        check_linear("Linear", &self.base, &self.terms, pair, shapes)
    }

    fn flops(&self, shapes: &dyn Shapes) -> u64 {
        let (x, y) = (shapes.shape(self.x), shapes.shape(self.y));
        let ranks: usize = self.terms.iter().map(|term| term.rank() * term.columns.len()).sum();
        2 * (x.elements() * y.columns() + y.rows() * ranks) as u64
    }

    fn run_on_cpu(&self, operands: &cpu::Operands<'_>) -> Result<()> {
        let x = rows_of(operands, self.x);
        let hidden = self.hidden.map(|id| rows_of(operands, id));
        let pieces = weights_by_column(&self.base, &self.terms, operands);
        let bias = self.base.bias(operands);
        let y = MatrixMut::new(operands.write(self.y), x.rows(), self.base.rows.len());
        let height = rows_a_product(x.rows(), operands.limits());
        y.split_rows(height).into_par_iter().enumerate().for_each(|(part, mut y)| {
            let rows = part * height..part * height + y.rows();
            for (columns, weight) in &pieces {
                let out = &mut y.columns_in(columns.clone());
                multiply(out, false, 1.0, x.rows_in(rows.clone()), weight.transposed());
            }
            for term in &self.terms {
                term.apply(&mut y.columns_in(term.columns.clone()), hidden, rows.clone(), operands);
            }
            if let Some(bias) = bias {
                for row in 0..y.rows() {
                    y.row_mut(row).iter_mut().zip(bias).for_each(|(y, b)| *y += b);
                }
            }
        });
        Ok(())
    }
}

impl Term {
    /// Its rank; 0 for an effective weight.
    pub fn rank(&self) -> usize {
        match &self.change {
            Change::LowRank { hidden, .. } => hidden.len(),
            Change::Effective { .. } => 0,
        }
    }

    /// Adds the low-rank term to the product with the frozen weight, then scales.
    fn apply(
        &self,
        y: &mut MatrixMut<'_>,
        hidden: Option<Matrix<'_>>,
        rows: Range<usize>,
        operands: &cpu::Operands<'_>,
    ) {
        if let (Change::LowRank { hidden: columns, b, scale }, Some(hidden)) = (&self.change, hidden) {
            let h = hidden.rows_in(rows).columns_in(columns.clone());
            multiply(y, true, *scale, h, rows_of(operands, *b).transposed());
        }
        if let Some(scale) = self.output_scale {
            let scale = operands.read(scale);
            for row in 0..y.rows() {
                y.row_mut(row).iter_mut().zip(scale).for_each(|(y, s)| *y *= s);
            }
        }
    }
}

impl Contract for LinearInputGradient {
    fn operands(&mut self) -> Vec<Operand<'_>> {
        let mut all = vec![Operand::Read(&mut self.dy)];
        all.extend(self.base.operands(false));
        all.extend(self.terms.iter_mut().flat_map(Term::operands));
        all.push(Operand::Update(&mut self.dx));
        all
    }

    fn check(&self, shapes: &dyn Shapes) -> Result<()> {
        let pair = (shapes.shape(self.dx.to), shapes.shape(self.dy));
        check_linear("LinearInputGradient", &self.base, &self.terms, pair, shapes)
    }

    fn flops(&self, shapes: &dyn Shapes) -> u64 {
        2 * (shapes.shape(self.dx.to).elements() * self.base.rows.len()) as u64
    }

    fn workspace(&self, shapes: &dyn Shapes, limits: &crate::device::Limits) -> usize {
        if self.terms.iter().all(|term| term.output_scale.is_none()) {
            return 0;
        }
        let dy = shapes.shape(self.dy);
        limits.lanes * rows_a_product(dy.rows(), limits) * dy.columns() * size_of::<f32>()
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
        Ok(())
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
        vec![self.dw.to]
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
        vec![self.dscale.to]
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

    fn workspace(&self, _shapes: &dyn Shapes, limits: &crate::device::Limits) -> usize {
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
}
