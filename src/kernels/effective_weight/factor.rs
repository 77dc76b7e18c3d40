//! A factor of a change: a matrix, or the product of two.

use crate::device::cpu;
use crate::error::Result;
use crate::kernels::contract::{Shapes, Update, expect};
use crate::kernels::matrix::{Matrix, MatrixMut, multiply, rows_of};
use crate::kernels::parallel::rows_a_product;
use crate::tensor::TensorId;
use rayon::prelude::*;

/// A factor, by the tensors of its matrices or their gradients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Factor<T> {
    /// The matrix itself.
    Whole(T),
    /// The product of `[rows, rank]` and `[rank, columns]`.
    Product(T, T),
}

impl<T> Factor<T> {
    /// Its matrices.
    pub fn all(&self) -> impl Iterator<Item = &T> {
        let (first, second) = match self {
            Self::Whole(matrix) => (matrix, None),
            Self::Product(a, b) => (a, Some(b)),
        };
        std::iter::once(first).chain(second)
    }

    /// Its matrices, to be renamed.
    pub fn all_mut(&mut self) -> impl Iterator<Item = &mut T> {
        let (first, second) = match self {
            Self::Whole(matrix) => (matrix, None),
            Self::Product(a, b) => (a, Some(b)),
        };
        std::iter::once(first).chain(second)
    }

    /// Whether it is a product.
    pub fn is_product(&self) -> bool {
        matches!(self, Self::Product(..))
    }

    /// The same factor of other things.
    ///
    /// # Errors
    /// Those of `f`.
    pub fn try_map<U, E>(
        &self,
        mut f: impl FnMut(&T) -> std::result::Result<U, E>,
    ) -> std::result::Result<Factor<U>, E> {
        Ok(match self {
            Self::Whole(matrix) => Factor::Whole(f(matrix)?),
            Self::Product(a, b) => Factor::Product(f(a)?, f(b)?),
        })
    }
}

impl Factor<TensorId> {
    /// Rows and columns of its value.
    pub fn extents(&self, shapes: &dyn Shapes) -> (usize, usize) {
        match self {
            Self::Whole(id) => (shapes.shape(*id).rows(), shapes.shape(*id).columns()),
            Self::Product(a, b) => (shapes.shape(*a).rows(), shapes.shape(*b).columns()),
        }
    }

    /// Elements of its value.
    pub(super) fn elements(&self, shapes: &dyn Shapes) -> usize {
        let (rows, columns) = self.extents(shapes);
        rows * columns
    }

    /// Operations of its product.
    pub(super) fn flops(&self, shapes: &dyn Shapes) -> u64 {
        match self {
            Self::Whole(_) => 0,
            Self::Product(a, b) => 2 * (shapes.shape(*a).elements() * shapes.shape(*b).columns()) as u64,
        }
    }

    /// Whether the two matrices of a product fit together.
    pub(super) fn check(&self, kernel: &str, shapes: &dyn Shapes) -> Result<()> {
        let Self::Product(a, b) = self else { return Ok(()) };
        let (a, b) = (shapes.shape(*a), shapes.shape(*b));
        expect(kernel, a.columns() == b.rows(), || format!("a factor is the product of {a} and {b}"))
    }

    /// Its value: the matrix, or the product made in `scratch`.
    fn value<'a>(&self, scratch: &mut &'a mut [f32], operands: &cpu::Operands<'a>) -> Matrix<'a> {
        match self {
            Self::Whole(id) => rows_of(operands, *id),
            Self::Product(a, b) => {
                let (a, b) = (rows_of(operands, *a), rows_of(operands, *b));
                let out = take(scratch, a.rows() * b.columns());
                product(out, false, a, b, operands);
                Matrix::new(out, a.rows(), b.columns())
            }
        }
    }

    /// Passes the gradient of its value on to those of its matrices.
    pub(super) fn pass_gradient(
        &self,
        updates: &Factor<Update>,
        gradient: Matrix<'_>,
        operands: &cpu::Operands<'_>,
    ) {
        match (self, updates) {
            (Self::Product(a, b), Factor::Product(da, db)) => {
                let (a, b) = (rows_of(operands, *a), rows_of(operands, *b));
                product(operands.write(da.to), da.accumulates(), gradient, b.transposed(), operands);
                product(operands.write(db.to), db.accumulates(), a.transposed(), gradient, operands);
            }
            (_, Factor::Whole(update) | Factor::Product(update, _)) => {
                let out = operands.write(update.to).chunks_exact_mut(gradient.columns());
                for (row, out) in out.enumerate() {
                    let gradient = gradient.row(row);
                    match update.accumulates() {
                        true => out.iter_mut().zip(gradient).for_each(|(sum, value)| *sum += value),
                        false => out.copy_from_slice(gradient),
                    }
                }
            }
        }
    }
}

/// The values of both factors.
pub(super) fn values<'a>(
    factors: &[Factor<TensorId>; 2],
    scratch: &mut &'a mut [f32],
    operands: &cpu::Operands<'a>,
) -> [Matrix<'a>; 2] {
    [factors[0].value(scratch, operands), factors[1].value(scratch, operands)]
}

/// The first `elements` of `scratch`, which keeps the rest.
pub(super) fn take<'a>(scratch: &mut &'a mut [f32], elements: usize) -> &'a mut [f32] {
    let (taken, rest) = std::mem::take(scratch).split_at_mut(elements);
    *scratch = rest;
    taken
}

/// `out` (+)= a b, over all threads.
fn product(out: &mut [f32], accumulate: bool, a: Matrix<'_>, b: Matrix<'_>, operands: &cpu::Operands<'_>) {
    let height = rows_a_product(a.rows(), operands.limits());
    let parts = MatrixMut::new(out, a.rows(), b.columns()).split_rows(height);
    parts.into_par_iter().enumerate().for_each(|(part, mut out)| {
        let first = part * height;
        let a = a.rows_in(first..first + out.rows());
        multiply(&mut out, accumulate, 1.0, a, b);
    });
}
