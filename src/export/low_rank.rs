//! Changes as low-rank pairs: exactly, where the product has a known rank, and without columns that do nothing.

use super::weight_change::factor_size;
use crate::models::adapter::{Change, Factor, Matrix};

/// The same change as a low-rank pair.
///
/// A Hadamard product of ranks r and s has rank r s: column (i, j) of B is the product of column i of w1_a and column
/// j of w2_a, and likewise the rows of A. A Kronecker product of w1 `[l, m]` and a w2 of rank r has rank m r: column
/// (i, j) of B is column i of w1 times column j of w2's left factor, and row (i, j) of A is row j of the right one in
/// the columns of part i.
pub(super) fn exact(change: &Change) -> Change {
    match change {
        Change::LowRank { .. } => change.clone(),
        Change::Hadamard { w1_a, w1_b, w2_a, w2_b, scale } => {
            let (r, s) = (w1_b.rows, w2_b.rows);
            let a = build(r * s, w1_b.columns, |row, column| {
                at(w1_b, row / s, column) * at(w2_b, row % s, column)
            });
            let b =
                build(w1_a.rows, r * s, |row, column| at(w1_a, row, column / s) * at(w2_a, row, column % s));
            Change::LowRank { a, b, scale: *scale }
        }
        Change::Kronecker { w1, w2, scale } => {
            let ((l, m), (k, n)) = (factor_size(w1), factor_size(w2));
            let w1 = whole(w1);
            let (left, right) = match w2 {
                Factor::Product(left, right) => (left.clone(), right.clone()),
                Factor::Whole(matrix) if k <= n => (identity(k), matrix.clone()),
                Factor::Whole(matrix) => (matrix.clone(), identity(n)),
            };
            let r = right.rows;
            let a = build(m * r, m * n, |row, column| {
                if row / r == column / n { at(&right, row % r, column % n) } else { 0.0 }
            });
            let b = build(l * k, m * r, |row, column| {
                at(&w1, row / k, column / r) * at(&left, row % k, column % r)
            });
            Change::LowRank { a, b, scale: *scale }
        }
    }
}

/// A low-rank pair without the columns of B that are zero throughout, and their rows of A; at least one stays. Other
/// kinds are as they are.
pub(super) fn without_unused(change: Change) -> Change {
    let Change::LowRank { a, b, scale } = change else { return change };
    let is_used = |column: usize| (0..b.rows).any(|row| at(&b, row, column) != 0.0);
    let mut used: Vec<usize> = (0..b.columns).filter(|&column| is_used(column)).collect();
    if used.is_empty() {
        used.push(0);
    }
    if used.len() == b.columns {
        return Change::LowRank { a, b, scale };
    }
    let narrow_a = build(used.len(), a.columns, |row, column| at(&a, used[row], column));
    let narrow_b = build(b.rows, used.len(), |row, column| at(&b, row, used[column]));
    Change::LowRank { a: narrow_a, b: narrow_b, scale }
}

fn build(rows: usize, columns: usize, value: impl Fn(usize, usize) -> f64) -> Matrix {
    let all = (0..rows).flat_map(|row| (0..columns).map(move |column| (row, column)));
    Matrix { rows, columns, values: all.map(|(row, column)| value(row, column) as f32).collect() }
}

fn at(matrix: &Matrix, row: usize, column: usize) -> f64 {
    f64::from(matrix.values[row * matrix.columns + column])
}

fn identity(size: usize) -> Matrix {
    build(size, size, |row, column| f64::from(u8::from(row == column)))
}

fn whole(factor: &Factor) -> Matrix {
    match factor {
        Factor::Whole(matrix) => matrix.clone(),
        Factor::Product(left, right) => build(left.rows, right.columns, |row, column| {
            (0..right.rows).map(|k| at(left, row, k) * at(right, k, column)).sum()
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::rows;
    use crate::export::weight_change::WeightChange;

    fn some(rows: usize, columns: usize, salt: usize) -> Matrix {
        build(rows, columns, |row, column| (((row * 7 + column * 5 + salt * 3) % 9) as f64 - 4.0) / 4.0)
    }

    fn assert_equal(one: &Change, other: &Change) {
        let delta = |change: &Change| WeightChange::new(change).delta(0..WeightChange::new(change).rows());
        assert_eq!(delta(one), delta(other));
    }

    #[test]
    fn products_of_both_kinds_are_low_rank_pairs() {
        let hadamard = Change::Hadamard {
            w1_a: some(6, 2, 1),
            w1_b: some(2, 4, 2),
            w2_a: some(6, 3, 3),
            w2_b: some(3, 4, 4),
            scale: 0.5,
        };
        assert_equal(&exact(&hadamard), &hadamard);
        for w2 in [
            Factor::Whole(some(4, 3, 5)),
            Factor::Whole(some(3, 4, 5)),
            Factor::Product(some(4, 1, 6), some(1, 2, 7)),
        ] {
            for w1 in [Factor::Whole(some(3, 2, 8)), Factor::Product(some(3, 2, 9), some(2, 5, 10))] {
                let kronecker = Change::Kronecker { w1, w2: w2.clone(), scale: 2.0 };
                assert_equal(&exact(&kronecker), &kronecker);
            }
        }
    }

    #[test]
    fn rows_of_every_kind_are_those_of_the_whole() {
        let kronecker = Change::Kronecker {
            w1: Factor::Whole(some(3, 2, 1)),
            w2: Factor::Whole(some(4, 3, 2)),
            scale: 1.0,
        };
        let all = WeightChange::new(&kronecker).delta(0..12);
        for range in [0..4, 4..12, 3..7, 6..12] {
            let part = rows::take(&kronecker, range.clone());
            assert_eq!(WeightChange::new(&part).delta(0..range.len()), all[range.start * 6..range.end * 6]);
        }
        let swapped = rows::swap_halves(kronecker);
        let mut expected = all;
        expected.rotate_left(6 * 6);
        assert_eq!(WeightChange::new(&swapped).delta(0..12), expected);
    }

    #[test]
    fn unused_columns_go_and_one_always_stays() {
        let b = Matrix { rows: 2, columns: 3, values: vec![0.0, 1.0, 0.0, 0.0, 2.0, 0.0] };
        let pair = Change::LowRank { a: some(3, 2, 1), b, scale: 1.0 };
        let narrow = without_unused(pair.clone());
        assert!(matches!(&narrow, Change::LowRank { a, b, .. } if a.rows == 1 && b.columns == 1));
        assert_equal(&narrow, &pair);
        let b = Matrix { rows: 2, columns: 3, values: vec![0.0; 6] };
        let none = without_unused(Change::LowRank { a: some(3, 2, 1), b, scale: 1.0 });
        assert!(matches!(&none, Change::LowRank { a, .. } if a.rows == 1));
    }
}
