//! Linear with adapters: Y = scale * (X W^T + s H B^T) + b, and its gradients.
//!
//! `H = X A^T` is a kernel of its own ([`crate::kernels::low_rank`]), shared by the projections that share X.
//! An adapter is a [`Term`] over a range of output columns: a low-rank pair, or an effective weight that
//! replaces those rows of W, each with an optional scale per output. LoRA, DoRA, LoKr and LoHa all lower to it.

use crate::device::cuda::{Architecture, Launches, Operands};
use crate::device::{Limits, cpu};
use crate::error::Result;
use crate::kernels::contract::{Contract, Operand, Shapes, expect, expect_shape};
use crate::kernels::gemm::Places;
use crate::kernels::matrix::{Matrix, MatrixMut, multiply, rows_of};
use crate::kernels::parallel::rows_a_product;
use crate::tensor::{Shape, TensorId};
use rayon::prelude::*;
use std::ops::Range;

mod cuda;
mod epilogue;
mod exact;
mod gradients;

pub(in crate::kernels) use cuda::OutputGradient;
pub use epilogue::Epilogue;
pub use gradients::{LinearInputGradient, LinearWeightGradient, OutputScaleGradient};

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
    /// Adapters, over column ranges that are disjoint or, where low-rank terms add up, the same; an output scale goes
    /// over what comes before it.
    pub terms: Vec<Term>,
    /// X.
    pub x: TensorId,
    /// H `[.., sum of ranks]`, where a term is low-rank.
    pub hidden: Option<TensorId>,
    /// Y; written only where the epilogue keeps it.
    pub y: TensorId,
    /// What becomes of Y before it is written.
    pub epilogue: Epilogue,
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
        all.extend(self.epilogue.operands(&mut self.y));
        all
    }

    fn exact(&self) -> Vec<TensorId> {
        self.epilogue.exact()
    }

    fn check(&self, shapes: &dyn Shapes) -> Result<()> {
        let pair = (shapes.shape(self.x), shapes.shape(self.y));
        check_linear("Linear", &self.base, &self.terms, pair, shapes)?;
        self.epilogue.check(self.y, shapes)
    }

    fn flops(&self, shapes: &dyn Shapes) -> u64 {
        let (x, y) = (shapes.shape(self.x), shapes.shape(self.y));
        let ranks: usize = self.terms.iter().map(|term| term.rank() * term.columns.len()).sum();
        2 * (x.elements() * y.columns() + y.rows() * ranks) as u64
    }

    fn workspace(&self, shapes: &dyn Shapes, _limits: &Limits) -> usize {
        self.epilogue.workspace(shapes.shape(self.y))
    }

    fn run_on_cpu(&self, operands: &cpu::Operands<'_>) -> Result<()> {
        self.epilogue.run_on_cpu(self.y, operands, |y| self.product(y, operands))
    }

    fn cuda_workspace(&self, shapes: &dyn Shapes, architecture: &Architecture) -> usize {
        let group = self.group("Linear", Places::Planned(shapes));
        group.map_or(0, |group| group.workspace(architecture))
    }

    fn launch(&self, kernel: &'static str, operands: &Operands<'_>, to: &mut Launches) -> Result<()> {
        if self.is_exact(operands) {
            return self.launch_exactly(kernel, operands, to);
        }
        let group = self.group(kernel, Places::OnCard(operands))?;
        group.launch(operands.workspace().0, &operands.architecture(), to)
    }
}

impl Linear {
    /// Y before the epilogue.
    fn product(&self, y: &mut [f32], operands: &cpu::Operands<'_>) {
        let x = rows_of(operands, self.x);
        let hidden = self.hidden.map(|id| rows_of(operands, id));
        let pieces = weights_by_column(&self.base, &self.terms, operands);
        let bias = self.base.bias(operands);
        let y = MatrixMut::new(y, x.rows(), self.base.rows.len());
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
