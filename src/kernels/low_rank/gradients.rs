//! Gradients of the adapters' own weights: dA and dB.

use super::{Down, Dropout, ROWS_A_SUM, dropout_workspace, dropped};
use crate::device::cuda::{Architecture, Launches, Operands};
use crate::device::{Limits, cpu};
use crate::error::Result;
use crate::kernels::contract::{Contract, Operand, Shapes, Update, expect_shape};
use crate::kernels::gemm::Places;
use crate::kernels::linear::{Change, Term};
use crate::kernels::matrix::{MatrixMut, multiply, rows_of};
use crate::kernels::parallel;
use crate::tensor::TensorId;
use rayon::prelude::*;

/// Columns of an adapter's input or output that one part of its gradient covers.
const COLUMNS_A_PART: usize = 64;

/// dA (+)= dH^T dropout(X), for every adapter.
#[derive(Debug, Clone)]
pub struct LowRankDownGradient {
    /// As in the forward kernel.
    pub downs: Vec<Down>,
    /// As in the forward kernel.
    pub dropout: Option<Dropout>,
    /// X.
    pub x: TensorId,
    /// dH.
    pub dhidden: TensorId,
    /// dA of every adapter.
    pub da: Vec<Update>,
}

/// dB (+)= s (scale * dY)^T H, for every adapter.
#[derive(Debug, Clone)]
pub struct LowRankUpGradient {
    /// The forward kernel's low-rank terms.
    pub terms: Vec<Term>,
    /// H.
    pub hidden: TensorId,
    /// dY.
    pub dy: TensorId,
    /// dB of every adapter.
    pub db: Vec<Update>,
}

impl Contract for LowRankDownGradient {
    fn operands(&mut self) -> Vec<Operand<'_>> {
        let mut all = vec![Operand::Read(&mut self.x), Operand::Read(&mut self.dhidden)];
        all.extend(self.dropout.as_mut().map(|dropout| Operand::Read(&mut dropout.state)));
        all.extend(self.da.iter_mut().map(Operand::Update));
        all
    }

    fn exact(&self) -> Vec<TensorId> {
        let masks = self.dropout.iter().map(|dropout| dropout.state);
        masks.chain(self.da.iter().flat_map(Update::tensors)).collect()
    }

    fn check(&self, shapes: &dyn Shapes) -> Result<()> {
        let inputs = shapes.shape(self.x).columns();
        self.downs.iter().zip(&self.da).try_for_each(|(down, da)| {
            let expected = [down.hidden.len(), inputs].into();
            expect_shape("LowRankDownGradient", "dA", &expected, shapes.shape(da.to))
        })
    }

    fn flops(&self, shapes: &dyn Shapes) -> u64 {
        2 * (shapes.shape(self.x).elements() * shapes.shape(self.dhidden).columns()) as u64
    }

    fn workspace(&self, shapes: &dyn Shapes, limits: &Limits) -> usize {
        dropout_workspace(self.dropout.as_ref(), shapes.shape(self.x), limits)
    }

    fn run_on_cpu(&self, operands: &cpu::Operands<'_>) -> Result<()> {
        let (x, dhidden) = (rows_of(operands, self.x), rows_of(operands, self.dhidden));
        let mut tasks = Vec::new();
        for (down, da) in self.downs.iter().zip(&self.da) {
            let whole = MatrixMut::new(operands.write(da.to), down.hidden.len(), x.columns());
            // A mask is made row by row over all of X, so with dropout an adapter is one task.
            let width = if self.dropout.is_some() { x.columns() } else { COLUMNS_A_PART };
            let parts = whole.split_columns(width).into_iter().enumerate();
            tasks.extend(parts.map(|(part, window)| (down, *da, part * width, window)));
        }
        parallel::over_lanes(tasks, operands.lanes(), |(down, da, first, mut out), scratch| {
            let height = if self.dropout.is_some() { ROWS_A_SUM } else { x.rows().max(1) };
            let columns = first..first + out.columns();
            for start in (0..x.rows()).step_by(height) {
                let rows = start..(start + height).min(x.rows());
                let view = (self.dropout.as_ref(), down.adapter);
                let x = dropped(x, rows.clone(), view, scratch, operands).columns_in(columns.clone());
                let dh = dhidden.rows_in(rows).columns_in(down.hidden.clone());
                multiply(&mut out, da.accumulates() || start > 0, 1.0, dh.transposed(), x);
            }
        });
        Ok(())
    }

    fn cuda_workspace(&self, shapes: &dyn Shapes, architecture: &Architecture) -> usize {
        let group = self.group("LowRankDownGradient", Places::Planned(shapes));
        group.map_or(0, |group| group.workspace(architecture))
    }

    fn launch(&self, kernel: &'static str, operands: &Operands<'_>, to: &mut Launches) -> Result<()> {
        let group = self.group(kernel, Places::OnCard(operands))?;
        group.launch(operands.workspace().0, &operands.architecture(), to)
    }
}

impl Contract for LowRankUpGradient {
    fn operands(&mut self) -> Vec<Operand<'_>> {
        let mut all = vec![Operand::Read(&mut self.hidden), Operand::Read(&mut self.dy)];
        all.extend(self.terms.iter_mut().filter_map(|term| term.output_scale.as_mut()).map(Operand::Read));
        all.extend(self.db.iter_mut().map(Operand::Update));
        all
    }

    fn exact(&self) -> Vec<TensorId> {
        self.db.iter().flat_map(Update::tensors).collect()
    }

    fn check(&self, shapes: &dyn Shapes) -> Result<()> {
        self.terms.iter().zip(&self.db).try_for_each(|(term, db)| {
            let expected = [term.columns.len(), term.rank()].into();
            expect_shape("LowRankUpGradient", "dB", &expected, shapes.shape(db.to))
        })
    }

    fn flops(&self, shapes: &dyn Shapes) -> u64 {
        let products: usize = self.terms.iter().map(|term| term.rank() * term.columns.len()).sum();
        2 * (shapes.shape(self.dy).rows() * products) as u64
    }

    fn run_on_cpu(&self, operands: &cpu::Operands<'_>) -> Result<()> {
        let (hidden, dy) = (rows_of(operands, self.hidden), rows_of(operands, self.dy));
        let mut tasks = Vec::new();
        for (term, db) in self.terms.iter().zip(&self.db) {
            let whole = MatrixMut::new(operands.write(db.to), term.columns.len(), term.rank());
            let parts = whole.split_rows(COLUMNS_A_PART).into_iter().enumerate();
            tasks.extend(parts.map(|(part, window)| (term, *db, part * COLUMNS_A_PART, window)));
        }
        tasks.into_par_iter().for_each(|(term, db, first, mut out)| {
            let Change::LowRank { hidden: columns, scale, .. } = &term.change else { return };
            let outs = term.columns.start + first..term.columns.start + first + out.rows();
            let h = hidden.columns_in(columns.clone());
            let dy = dy.columns_in(outs).transposed();
            let Some(output_scale) = term.output_scale else {
                return multiply(&mut out, db.accumulates(), *scale, dy, h);
            };
            for (row, &factor) in (0..out.rows()).zip(&operands.read(output_scale)[first..]) {
                let dy = dy.rows_in(row..row + 1);
                multiply(&mut out.rows_in(row..row + 1), db.accumulates(), scale * factor, dy, h);
            }
        });
        Ok(())
    }

    fn cuda_workspace(&self, shapes: &dyn Shapes, architecture: &Architecture) -> usize {
        let group = self.group("LowRankUpGradient", Places::Planned(shapes));
        group.map_or(0, |group| group.workspace(architecture))
    }

    fn launch(&self, kernel: &'static str, operands: &Operands<'_>, to: &mut Launches) -> Result<()> {
        let group = self.group(kernel, Places::OnCard(operands))?;
        group.launch(operands.workspace().0, &operands.architecture(), to)
    }
}
