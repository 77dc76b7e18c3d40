//! The two ways in which a pair of factors makes a change of a weight, and their derivatives.

use crate::kernels::matrix::Matrix;
use rayon::prelude::*;

/// How two factors make a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Join {
    /// Element by element; both factors have the weight's shape.
    Hadamard,
    /// Kronecker product of `[l, m]` and `[k, n]`: element `[i k + p, j n + q]` is `F1[i, j] F2[p, q]`.
    Kronecker,
}

impl Join {
    /// Rows and columns of what factors of these extents make; none if they do not fit together.
    pub fn extents(self, first: (usize, usize), second: (usize, usize)) -> Option<(usize, usize)> {
        match self {
            Self::Hadamard => (first == second).then_some(first),
            Self::Kronecker => Some((first.0 * second.0, first.1 * second.1)),
        }
    }

    /// Adds s times row `row` of the change to `out`.
    pub(super) fn add_row(
        self,
        out: &mut [f32],
        row: usize,
        first: Matrix<'_>,
        second: Matrix<'_>,
        scale: f32,
    ) {
        match self {
            Self::Hadamard => {
                let factors = first.row(row).iter().zip(second.row(row));
                out.iter_mut().zip(factors).for_each(|(out, (a, b))| *out += scale * a * b);
            }
            Self::Kronecker => {
                let (coefficients, values) =
                    (first.row(row / second.rows()), second.row(row % second.rows()));
                for (out, coefficient) in out.chunks_exact_mut(second.columns()).zip(coefficients) {
                    add(out, scale * coefficient, values);
                }
            }
        }
    }

    /// The gradient of the first factor.
    pub(super) fn first_gradient(
        self,
        out: &mut [f32],
        dw: Matrix<'_>,
        first: Matrix<'_>,
        second: Matrix<'_>,
        scale: f32,
    ) {
        let (height, width) = (second.rows(), second.columns());
        over_rows(out, first.columns(), |row, out| match self {
            Self::Hadamard => multiply(out, scale, dw.row(row), second.row(row)),
            Self::Kronecker => {
                for (column, out) in out.iter_mut().enumerate() {
                    let block = |p: usize| &dw.row(row * height + p)[column * width..][..width];
                    *out = scale * (0..height).map(|p| dot(block(p), second.row(p))).sum::<f32>();
                }
            }
        });
    }

    /// The gradient of the second factor.
    pub(super) fn second_gradient(
        self,
        out: &mut [f32],
        dw: Matrix<'_>,
        first: Matrix<'_>,
        second: Matrix<'_>,
        scale: f32,
    ) {
        let (height, width) = (second.rows(), second.columns());
        over_rows(out, width, |row, out| match self {
            Self::Hadamard => multiply(out, scale, dw.row(row), first.row(row)),
            Self::Kronecker => {
                out.fill(0.0);
                for i in 0..first.rows() {
                    let blocks = dw.row(i * height + row).chunks_exact(width);
                    for (block, coefficient) in blocks.zip(first.row(i)) {
                        add(out, scale * coefficient, block);
                    }
                }
            }
        });
    }
}

/// Calls f(row, its elements) for every row of `out`.
fn over_rows(out: &mut [f32], columns: usize, f: impl Fn(usize, &mut [f32]) + Sync) {
    out.par_chunks_mut(columns.max(1)).enumerate().for_each(|(row, out)| f(row, out));
}

fn multiply(out: &mut [f32], scale: f32, a: &[f32], b: &[f32]) {
    out.iter_mut().zip(a.iter().zip(b)).for_each(|(out, (a, b))| *out = scale * a * b);
}

fn add(out: &mut [f32], factor: f32, values: &[f32]) {
    out.iter_mut().zip(values).for_each(|(out, value)| *out += factor * value);
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}
