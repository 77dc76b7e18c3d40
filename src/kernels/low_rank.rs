//! The low-rank side of adapters that share an input: H = dropout(X) [A1; A2; ..]^T and its gradients.
//!
//! Dropout is PEFT's: each adapter drops elements of X by its own mask and scales the rest by 1 / (1 - p). The
//! mask is regenerated from the counters, never stored.

use crate::device::cuda::{Architecture, Launches, Operands};
use crate::device::{Limits, cpu};
use crate::error::Result;
use crate::kernels::contract::{Contract, Operand, Shapes, Update, expect, expect_shape};
use crate::kernels::gemm::Places;
use crate::kernels::linear::{Change, Term};
use crate::kernels::matrix::{Matrix, MatrixMut, multiply, rows_of};
use crate::kernels::{parallel, step_state};
use crate::random::{Purpose, Stream};
use crate::tensor::{Shape, TensorId};
use std::ops::Range;

mod cuda;
mod gradients;

pub use gradients::{LowRankDownGradient, LowRankUpGradient};

/// Rows that one part of a sum over rows of dropped X covers; sums depend on it.
const ROWS_A_SUM: usize = 128;

/// One adapter's A.
#[derive(Debug, Clone)]
pub struct Down {
    /// A, `[rank, in]`.
    pub a: TensorId,
    /// Its columns of H.
    pub hidden: Range<usize>,
    /// Its index among all adapters: the lane of its dropout masks.
    pub adapter: u32,
}

/// Dropout of X in front of A.
#[derive(Debug, Clone)]
pub struct Dropout {
    /// Probability of dropping an element, in (0, 1).
    pub probability: f32,
    /// The step state, whose seed, step and sample counters make the mask.
    pub state: TensorId,
    /// Rows of X that belong to one sample.
    pub rows_a_sample: usize,
}

/// H `[.., sum of ranks]` from X `[.., in]`.
#[derive(Debug, Clone)]
pub struct LowRankDown {
    /// The adapters; those over the same columns of H add up.
    pub downs: Vec<Down>,
    /// Dropout, if any.
    pub dropout: Option<Dropout>,
    /// X.
    pub x: TensorId,
    /// H.
    pub hidden: TensorId,
}

/// dH = s (scale * dY) B.
#[derive(Debug, Clone)]
pub struct LowRankHiddenGradient {
    /// The forward kernel's low-rank terms.
    pub terms: Vec<Term>,
    /// dY.
    pub dy: TensorId,
    /// dH.
    pub dhidden: TensorId,
}

/// dX (+)= mask * (dH A).
#[derive(Debug, Clone)]
pub struct LowRankInputGradient {
    /// As in the forward kernel.
    pub downs: Vec<Down>,
    /// As in the forward kernel.
    pub dropout: Option<Dropout>,
    /// dH.
    pub dhidden: TensorId,
    /// dX.
    pub dx: Update,
}

/// The low-rank side of dX: what [`LowRankInputGradient`] adds, as a part of another kernel.
#[derive(Debug, Clone)]
pub struct LowRankSide {
    /// As in the forward kernel.
    pub downs: Vec<Down>,
    /// As in the forward kernel.
    pub dropout: Option<Dropout>,
    /// dH.
    pub dhidden: TensorId,
}

impl LowRankSide {
    /// Its own operands.
    pub fn operands(&mut self) -> Vec<Operand<'_>> {
        let mut all = vec![Operand::Read(&mut self.dhidden)];
        all.extend(downs_operands(&mut self.downs, &mut self.dropout));
        all
    }
}

impl Dropout {
    /// The factor of element `column` of X's row `row`: 0, or 1 / (1 - p).
    fn factors(
        &self,
        adapter: u32,
        state: &[f32],
        row: usize,
        columns: usize,
    ) -> impl Fn(usize) -> f32 + use<> {
        let header = step_state::header(state);
        let seed = u64::from(header.seed[0]) | (u64::from(header.seed[1]) << 32);
        let sample = header.first_sample + (row / self.rows_a_sample) as u32;
        let stream = Stream::new(seed, Purpose::LoraDropout, adapter, header.step, sample);
        let first = row % self.rows_a_sample * columns;
        let (probability, kept) = (self.probability, 1.0 / (1.0 - self.probability));
        move |column| if stream.uniform(first + column) < probability { 0.0 } else { kept }
    }
}

/// A window of X as one adapter sees it: X itself, or X with dropout, made in `scratch`.
fn dropped<'s>(
    x: Matrix<'s>,
    rows: Range<usize>,
    (dropout, adapter): (Option<&Dropout>, u32),
    scratch: &'s mut [f32],
    operands: &cpu::Operands<'_>,
) -> Matrix<'s> {
    let Some(dropout) = dropout else { return x.rows_in(rows) };
    let scratch = &mut scratch[..rows.len() * x.columns()];
    for (row, out) in rows.clone().zip(scratch.chunks_exact_mut(x.columns())) {
        let factor = dropout.factors(adapter, operands.read(dropout.state), row, x.columns());
        out.iter_mut().zip(x.row(row)).enumerate().for_each(|(i, (out, x))| *out = x * factor(i));
    }
    Matrix::new(scratch, rows.len(), x.columns())
}

/// Scratch for [`dropped`], if there is dropout.
fn dropout_workspace(dropout: Option<&Dropout>, x: &Shape, limits: &Limits) -> usize {
    let rows = parallel::rows_a_product(x.rows(), limits).max(ROWS_A_SUM);
    dropout.map_or(0, |_| limits.lanes * rows * x.columns() * size_of::<f32>())
}

fn downs_operands<'a>(downs: &'a mut [Down], dropout: &'a mut Option<Dropout>) -> Vec<Operand<'a>> {
    let downs = downs.iter_mut().map(|down| &mut down.a);
    downs.chain(dropout.as_mut().map(|d| &mut d.state)).map(Operand::Read).collect()
}

fn check_downs(kernel: &str, downs: &[Down], inputs: usize, shapes: &dyn Shapes) -> Result<()> {
    downs.iter().try_for_each(|down| {
        expect_shape(kernel, "A", &[down.hidden.len(), inputs].into(), shapes.shape(down.a))
    })
}

impl LowRankDown {
    /// Whether no adapter before this one has its columns of H.
    fn begins_a_sum(&self, index: usize) -> bool {
        self.downs[..index].iter().all(|other| other.hidden != self.downs[index].hidden)
    }
}

impl Contract for LowRankDown {
    fn operands(&mut self) -> Vec<Operand<'_>> {
        let mut all = vec![Operand::Read(&mut self.x)];
        all.extend(downs_operands(&mut self.downs, &mut self.dropout));
        all.push(Operand::Write(&mut self.hidden));
        all
    }

    fn exact(&self) -> Vec<TensorId> {
        self.dropout.iter().map(|dropout| dropout.state).collect()
    }

    fn check(&self, shapes: &dyn Shapes) -> Result<()> {
        let (x, hidden) = (shapes.shape(self.x), shapes.shape(self.hidden));
        check_downs("LowRankDown", &self.downs, x.columns(), shapes)?;
        let begins = (0..self.downs.len()).filter(|&index| self.begins_a_sum(index));
        let ranks: usize = begins.map(|index| self.downs[index].hidden.len()).sum();
        expect_shape("LowRankDown", "H", &x.with_columns(ranks), hidden)
    }

    fn flops(&self, shapes: &dyn Shapes) -> u64 {
        2 * (shapes.shape(self.x).elements() * shapes.shape(self.hidden).columns()) as u64
    }

    fn workspace(&self, shapes: &dyn Shapes, limits: &Limits) -> usize {
        dropout_workspace(self.dropout.as_ref(), shapes.shape(self.x), limits)
    }

    fn run_on_cpu(&self, operands: &cpu::Operands<'_>) -> Result<()> {
        let x = rows_of(operands, self.x);
        let columns = operands.shape(self.hidden).columns();
        let hidden = MatrixMut::new(operands.write(self.hidden), x.rows(), columns);
        let height = parallel::rows_a_product(x.rows(), operands.limits());
        let tasks: Vec<_> = hidden.split_rows(height).into_iter().enumerate().collect();
        parallel::over_lanes(tasks, operands.lanes(), |(part, mut hidden), scratch| {
            let rows = part * height..part * height + hidden.rows();
            for (index, down) in self.downs.iter().enumerate() {
                let view = (self.dropout.as_ref(), down.adapter);
                let x = dropped(x, rows.clone(), view, scratch, operands);
                let out = &mut hidden.columns_in(down.hidden.clone());
                let adds = !self.begins_a_sum(index);
                multiply(out, adds, 1.0, x, rows_of(operands, down.a).transposed());
            }
        });
        Ok(())
    }

    fn cuda_workspace(&self, shapes: &dyn Shapes, architecture: &Architecture) -> usize {
        let group = self.group("LowRankDown", Places::Planned(shapes));
        group.map_or(0, |group| group.workspace(architecture))
    }

    fn launch(&self, kernel: &'static str, operands: &Operands<'_>, to: &mut Launches) -> Result<()> {
        let group = self.group(kernel, Places::OnCard(operands))?;
        group.launch(operands.workspace().0, &operands.architecture(), to)
    }
}

impl Contract for LowRankHiddenGradient {
    fn operands(&mut self) -> Vec<Operand<'_>> {
        let mut all = vec![Operand::Read(&mut self.dy)];
        all.extend(self.terms.iter_mut().flat_map(Term::operands));
        all.push(Operand::Write(&mut self.dhidden));
        all
    }

    fn check(&self, shapes: &dyn Shapes) -> Result<()> {
        let (dy, dhidden) = (shapes.shape(self.dy), shapes.shape(self.dhidden));
        expect("LowRankHiddenGradient", dy.rows() == dhidden.rows(), || {
            format!("dY has shape {dy}, dH {dhidden}")
        })
    }

    fn flops(&self, shapes: &dyn Shapes) -> u64 {
        let rows = shapes.shape(self.dy).rows();
        let products = self.terms.iter().map(|term| match &term.change {
            Change::LowRank { hidden, .. } => hidden.len() * term.columns.len(),
            Change::Effective { .. } => 0,
        });
        2 * (rows * products.sum::<usize>()) as u64
    }

    fn workspace(&self, shapes: &dyn Shapes, limits: &Limits) -> usize {
        let scaled = self.terms.iter().any(|term| term.output_scale.is_some());
        if !scaled {
            return 0;
        }
        let dy = shapes.shape(self.dy);
        limits.lanes * parallel::rows_a_product(dy.rows(), limits) * dy.columns() * size_of::<f32>()
    }

    fn run_on_cpu(&self, operands: &cpu::Operands<'_>) -> Result<()> {
        let dy = rows_of(operands, self.dy);
        let columns = operands.shape(self.dhidden).columns();
        let dhidden = MatrixMut::new(operands.write(self.dhidden), dy.rows(), columns);
        let height = parallel::rows_a_product(dy.rows(), operands.limits());
        let tasks: Vec<_> = dhidden.split_rows(height).into_iter().enumerate().collect();
        parallel::over_lanes(tasks, operands.lanes(), |(part, mut dhidden), scratch| {
            let rows = part * height..part * height + dhidden.rows();
            for term in &self.terms {
                let Change::LowRank { hidden, b, scale } = &term.change else { continue };
                let dy = scaled(dy.rows_in(rows.clone()), term, scratch, operands);
                let out = &mut dhidden.columns_in(hidden.clone());
                multiply(out, false, *scale, dy, rows_of(operands, *b));
            }
        });
        Ok(())
    }

    fn cuda_workspace(&self, shapes: &dyn Shapes, architecture: &Architecture) -> usize {
        self.workspace_on_card(shapes, architecture)
    }

    fn launch(&self, kernel: &'static str, operands: &Operands<'_>, to: &mut Launches) -> Result<()> {
        self.launch_on_card(kernel, operands, to)
    }
}

/// The term's columns of dY, times its output scale if it has one.
fn scaled<'s>(
    dy: Matrix<'s>,
    term: &Term,
    scratch: &'s mut [f32],
    operands: &cpu::Operands<'_>,
) -> Matrix<'s> {
    let Some(scale) = term.output_scale else { return dy.columns_in(term.columns.clone()) };
    let width = term.columns.len();
    let scratch = &mut scratch[..dy.rows() * width];
    for (row, out) in scratch.chunks_exact_mut(width).enumerate() {
        let dy = &dy.row(row)[term.columns.clone()];
        out.iter_mut().zip(dy).zip(operands.read(scale)).for_each(|((out, dy), s)| *out = dy * s);
    }
    Matrix::new(scratch, dy.rows(), width)
}

impl Contract for LowRankInputGradient {
    fn operands(&mut self) -> Vec<Operand<'_>> {
        let mut all = vec![Operand::Read(&mut self.dhidden)];
        all.extend(downs_operands(&mut self.downs, &mut self.dropout));
        all.push(Operand::Update(&mut self.dx));
        all
    }

    fn exact(&self) -> Vec<TensorId> {
        self.dropout.iter().map(|dropout| dropout.state).collect()
    }

    fn check(&self, shapes: &dyn Shapes) -> Result<()> {
        let (dx, dhidden) = (shapes.shape(self.dx.to), shapes.shape(self.dhidden));
        check_downs("LowRankInputGradient", &self.downs, dx.columns(), shapes)?;
        expect("LowRankInputGradient", dx.rows() == dhidden.rows(), || {
            format!("dX has shape {dx}, dH {dhidden}")
        })
    }

    fn flops(&self, shapes: &dyn Shapes) -> u64 {
        2 * (shapes.shape(self.dx.to).elements() * shapes.shape(self.dhidden).columns()) as u64
    }

    fn workspace(&self, shapes: &dyn Shapes, limits: &Limits) -> usize {
        dropout_workspace(self.dropout.as_ref(), shapes.shape(self.dx.to), limits)
    }

    fn run_on_cpu(&self, operands: &cpu::Operands<'_>) -> Result<()> {
        let dhidden = rows_of(operands, self.dhidden);
        let columns = operands.shape(self.dx.to).columns();
        let dx = MatrixMut::new(operands.write(self.dx.to), dhidden.rows(), columns);
        let height = parallel::rows_a_product(dhidden.rows(), operands.limits());
        let tasks: Vec<_> = dx.split_rows(height).into_iter().enumerate().collect();
        parallel::over_lanes(tasks, operands.lanes(), |(part, mut dx), scratch| {
            let first = part * height;
            let dhidden = dhidden.rows_in(first..first + dx.rows());
            if !self.dx.accumulates() {
                dx.fill(0.0);
            }
            for down in &self.downs {
                let dh = dhidden.columns_in(down.hidden.clone());
                let a = rows_of(operands, down.a);
                let Some(dropout) = &self.dropout else {
                    multiply(&mut dx, true, 1.0, dh, a);
                    continue;
                };
                let mut through = MatrixMut::new(&mut scratch[..dx.rows() * columns], dx.rows(), columns);
                multiply(&mut through, false, 1.0, dh, a);
                let state = operands.read(dropout.state);
                for row in 0..dx.rows() {
                    let factor = dropout.factors(down.adapter, state, first + row, columns);
                    let through = through.row_mut(row).iter().enumerate();
                    dx.row_mut(row).iter_mut().zip(through).for_each(|(dx, (i, g))| *dx += g * factor(i));
                }
            }
        });
        Ok(())
    }

    fn launch(&self, kernel: &'static str, operands: &Operands<'_>, to: &mut Launches) -> Result<()> {
        self.launch_on_card(kernel, operands, to)
    }
}
