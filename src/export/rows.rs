//! Some rows of a change, and rows in another order, as a change of the same kind where there is one.

use super::low_rank;
use super::weight_change::{factor_size, size};
use crate::models::adapter::{Change, Factor, Matrix};
use std::ops::Range;

/// The rows `rows` of `change`. A Kronecker product that has no such part becomes the low-rank pair of those rows.
pub(super) fn take(change: &Change, rows: Range<usize>) -> Change {
    match change {
        Change::LowRank { a, b, scale } => {
            Change::LowRank { a: a.clone(), b: rows_of(b, &rows), scale: *scale }
        }
        Change::Hadamard { w1_a, w1_b, w2_a, w2_b, scale } => Change::Hadamard {
            w1_a: rows_of(w1_a, &rows),
            w1_b: w1_b.clone(),
            w2_a: rows_of(w2_a, &rows),
            w2_b: w2_b.clone(),
            scale: *scale,
        },
        Change::Kronecker { w1, w2, scale } => {
            let height = factor_size(w2).0;
            if rows.start.is_multiple_of(height) && rows.end.is_multiple_of(height) {
                let w1 = factor_rows(w1, &(rows.start / height..rows.end / height));
                return Change::Kronecker { w1, w2: w2.clone(), scale: *scale };
            }
            take(&low_rank::exact(change), rows)
        }
    }
}

/// The second half of the rows before the first.
pub(super) fn swap_halves(change: Change) -> Change {
    let half = size(&change).0 / 2;
    match change {
        Change::LowRank { a, b, scale } => Change::LowRank { a, b: rotated(b, half), scale },
        Change::Hadamard { w1_a, w1_b, w2_a, w2_b, scale } => {
            Change::Hadamard { w1_a: rotated(w1_a, half), w1_b, w2_a: rotated(w2_a, half), w2_b, scale }
        }
        Change::Kronecker { w1, w2, scale } if factor_size(&w1).0.is_multiple_of(2) => {
            let half = factor_size(&w1).0 / 2;
            let w1 = match w1 {
                Factor::Whole(matrix) => Factor::Whole(rotated(matrix, half)),
                Factor::Product(left, right) => Factor::Product(rotated(left, half), right),
            };
            Change::Kronecker { w1, w2, scale }
        }
        change @ Change::Kronecker { .. } => swap_halves(low_rank::exact(&change)),
    }
}

fn factor_rows(factor: &Factor, rows: &Range<usize>) -> Factor {
    match factor {
        Factor::Whole(matrix) => Factor::Whole(rows_of(matrix, rows)),
        Factor::Product(left, right) => Factor::Product(rows_of(left, rows), right.clone()),
    }
}

fn rows_of(matrix: &Matrix, rows: &Range<usize>) -> Matrix {
    let values = matrix.values[rows.start * matrix.columns..rows.end * matrix.columns].to_vec();
    Matrix { rows: rows.len(), columns: matrix.columns, values }
}

fn rotated(mut matrix: Matrix, rows: usize) -> Matrix {
    matrix.values.rotate_left(rows * matrix.columns);
    matrix
}
