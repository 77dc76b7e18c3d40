//! The nearest low-rank pair to any change: a truncated singular value decomposition by subspace iteration (Halko,
//! Martinsson, Tropp, arXiv 0909.4061), exact where the change has no higher rank.

use super::weight_change::{WeightChange, length};
use crate::models::adapter::{AdapterModule, Change, Matrix};
use crate::random::{Purpose, Stream};
use rayon::prelude::*;

/// Directions that are kept beyond the rank while iterating.
const SPARE: usize = 8;
/// Passes over the matrix and its transpose.
const PASSES: usize = 4;
/// What is left of a vector that lay in the span of those before it.
const NOTHING: f64 = 1e-12;

/// The columns of a matrix.
type Columns = Vec<Vec<f64>>;

/// The module as a pair of at most `rank`, and how far it is off: the norm of the difference over that of the change.
/// Magnitudes stay as they are.
pub fn resized(module: &AdapterModule, rank: usize) -> (AdapterModule, f64) {
    let change = WeightChange::new(&module.change);
    let (rows, columns) = (change.rows(), change.columns());
    let dense = change.delta(0..rows);
    let (left, right) = singular_pairs(&dense, rows, columns, rank.clamp(1, rows.min(columns)));
    let norm = length(&dense);
    let off = difference(&dense, columns, &left, &right);
    let change = pair(&left, &right, rows, columns);
    (AdapterModule { change, ..module.clone() }, if norm > 0.0 { off / norm } else { 0.0 })
}

/// Left and right vectors of the largest singular values: the left ones of length 1, the right ones as long as their
/// value. Fewer than `rank` where the matrix has a lower rank.
fn singular_pairs(dense: &[f64], rows: usize, columns: usize, rank: usize) -> (Columns, Columns) {
    let wide = (rank + SPARE).min(rows).min(columns);
    // Any start will do that is in no special direction.
    let stream = Stream::new(0, Purpose::AdapterInit, 0, 0, 0);
    let start = |column: usize| (0..columns).map(move |row| f64::from(stream.normal(column * columns + row)));
    let mut right: Columns = (0..wide).map(|column| start(column).collect()).collect();
    for _ in 0..PASSES {
        let left = orthonormal(times(dense, columns, &right));
        right = orthonormal(transposed_times(dense, columns, &left));
    }
    let left = orthonormal(times(dense, columns, &right));
    let right = transposed_times(dense, columns, &left);
    let gram: Vec<Vec<f64>> =
        right.iter().map(|one| right.iter().map(|other| dot(one, other)).collect()).collect();
    let mut vectors = eigenvectors(gram);
    vectors.truncate(rank);
    let turned = |basis: &Columns| vectors.iter().map(|vector| combined(basis, vector)).collect();
    (turned(&left), turned(&right))
}

/// `dense` times every column.
fn times(dense: &[f64], columns: usize, vectors: &Columns) -> Columns {
    vectors.par_iter().map(|vector| dense.chunks(columns).map(|row| dot(row, vector)).collect()).collect()
}

/// The transpose of `dense` times every column.
fn transposed_times(dense: &[f64], columns: usize, vectors: &Columns) -> Columns {
    let one = |vector: &Vec<f64>| {
        let mut sum = vec![0.0; columns];
        dense.chunks(columns).zip(vector).for_each(|(row, factor)| add(&mut sum, *factor, row));
        sum
    };
    vectors.par_iter().map(one).collect()
}

/// A basis of the span, by Gram-Schmidt done twice.
fn orthonormal(vectors: Columns) -> Columns {
    let mut basis = Columns::new();
    for mut vector in vectors {
        let before = length(&vector);
        for _ in 0..2 {
            basis.iter().for_each(|known| {
                let along = dot(known, &vector);
                add(&mut vector, -along, known);
            });
        }
        let left = length(&vector);
        if left > NOTHING * before {
            vector.iter_mut().for_each(|value| *value /= left);
            basis.push(vector);
        }
    }
    basis
}

/// The eigenvectors of a symmetric matrix, largest eigenvalue first, without those of no weight (cyclic Jacobi).
fn eigenvectors(mut matrix: Vec<Vec<f64>>) -> Columns {
    let size = matrix.len();
    let unit = |one: usize| (0..size).map(|other| f64::from(u8::from(one == other))).collect();
    let mut vectors: Columns = (0..size).map(unit).collect();
    for _ in 0..30 {
        let mut rest = 0.0_f64;
        for p in 0..size {
            for q in p + 1..size {
                rest = rest.max(matrix[p][q].abs() / (matrix[p][p] * matrix[q][q]).abs().sqrt().max(1e-300));
                rotate(&mut matrix, &mut vectors, p, q);
            }
        }
        if rest < 1e-15 {
            break;
        }
    }
    let mut order: Vec<usize> = (0..size).collect();
    order.sort_by(|&one, &other| matrix[other][other].total_cmp(&matrix[one][one]));
    let largest = order.first().map_or(0.0, |&first| matrix[first][first]);
    order.retain(|&at| matrix[at][at] > NOTHING * NOTHING * largest);
    order.into_iter().map(|at| vectors[at].clone()).collect()
}

/// Turns the axes p and q so that the entry (p, q) becomes zero.
fn rotate(matrix: &mut [Vec<f64>], vectors: &mut Columns, p: usize, q: usize) {
    if matrix[p][q] == 0.0 {
        return;
    }
    let theta = (matrix[q][q] - matrix[p][p]) / (2.0 * matrix[p][q]);
    let tangent = theta.signum() / (theta.abs() + (theta * theta + 1.0).sqrt());
    let cosine = 1.0 / (tangent * tangent + 1.0).sqrt();
    let sine = tangent * cosine;
    for row in matrix.iter_mut() {
        (row[p], row[q]) = (cosine * row[p] - sine * row[q], sine * row[p] + cosine * row[q]);
    }
    for rows in [matrix, vectors.as_mut_slice()] {
        let (above, below) = rows.split_at_mut(q);
        for (one, other) in above[p].iter_mut().zip(&mut below[0]) {
            (*one, *other) = (cosine * *one - sine * *other, sine * *one + cosine * *other);
        }
    }
}

/// The columns of `basis` with the weights `weights`, summed.
fn combined(basis: &Columns, weights: &[f64]) -> Vec<f64> {
    let mut sum = vec![0.0; basis.first().map_or(0, Vec::len)];
    basis.iter().zip(weights).for_each(|(vector, weight)| add(&mut sum, *weight, vector));
    sum
}

/// The norm of what is missing.
fn difference(dense: &[f64], columns: usize, left: &Columns, right: &Columns) -> f64 {
    let squares = dense.par_chunks(columns).enumerate().map(|(row, values)| {
        let mut rest = values.to_vec();
        left.iter().zip(right).for_each(|(left, right)| add(&mut rest, -left[row], right));
        dot(&rest, &rest)
    });
    squares.sum::<f64>().sqrt()
}

/// B and A, each with the root of the singular values; one of zeros where there is nothing.
fn pair(left: &Columns, right: &Columns, rows: usize, columns: usize) -> Change {
    let rank = left.len().max(1);
    let mut a = Matrix { rows: rank, columns, values: vec![0.0; rank * columns] };
    let mut b = Matrix { rows, columns: rank, values: vec![0.0; rows * rank] };
    for (at, (left, right)) in left.iter().zip(right).enumerate() {
        let root = length(right).sqrt();
        let row = a.values[at * columns..][..columns].iter_mut().zip(right);
        row.for_each(|(to, from)| *to = (from / root) as f32);
        let column = b.values[at..].iter_mut().step_by(rank).zip(left);
        column.for_each(|(to, from)| *to = (from * root) as f32);
    }
    Change::LowRank { a, b, scale: 1.0 }
}

fn dot(one: &[f64], other: &[f64]) -> f64 {
    one.iter().zip(other).map(|(one, other)| one * other).sum()
}

fn add(sum: &mut [f64], factor: f64, vector: &[f64]) {
    sum.iter_mut().zip(vector).for_each(|(sum, value)| *sum += factor * value);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::adapter::Factor;

    fn some(rows: usize, columns: usize, salt: usize) -> Matrix {
        let value = |at: usize| ((at * 37 + salt * 101) % 64) as f32 / 32.0 - 1.0;
        Matrix { rows, columns, values: (0..rows * columns).map(value).collect() }
    }

    fn module(change: Change) -> AdapterModule {
        AdapterModule { module: "proj_out".to_owned(), change, magnitude: None }
    }

    #[test]
    fn a_change_of_that_rank_is_kept_exactly() {
        let change = Change::LowRank { a: some(3, 20, 1), b: some(24, 3, 2), scale: 0.7 };
        for rank in [3, 5] {
            let (small, off) = resized(&module(change.clone()), rank);
            assert!(off < 1e-7, "{off}");
            assert!(matches!(&small.change, Change::LowRank { a, .. } if a.rows == 3));
            let delta = |change: &Change| WeightChange::new(change).delta(0..24);
            for (one, other) in delta(&small.change).iter().zip(delta(&change)) {
                assert!((one - other).abs() < 1e-5, "{one} {other}");
            }
        }
    }

    #[test]
    fn what_is_cut_off_are_the_smallest_singular_values() {
        // diag(4, 3, 0): rank 1 keeps 4 of a norm of 5.
        let diagonal =
            Matrix { rows: 3, columns: 3, values: vec![4.0, 0.0, 0.0, 0.0, 3.0, 0.0, 0.0, 0.0, 0.0] };
        let one = Factor::Whole(Matrix { rows: 1, columns: 1, values: vec![1.0] });
        let change = Change::Kronecker { w1: one, w2: Factor::Whole(diagonal), scale: 1.0 };
        let (small, off) = resized(&module(change), 1);
        assert!((off - 0.6).abs() < 1e-12, "{off}");
        assert!((WeightChange::new(&small.change).delta(0..1)[0] - 4.0).abs() < 1e-6);
    }

    #[test]
    fn nothing_stays_nothing() {
        let zeros = Matrix { values: vec![0.0; 8], ..some(4, 2, 1) };
        let change = Change::LowRank { a: some(2, 6, 1), b: zeros, scale: 1.0 };
        let (small, off) = resized(&module(change), 2);
        assert_eq!(off, 0.0);
        assert_eq!(length(&WeightChange::new(&small.change).delta(0..4)), 0.0);
    }
}
