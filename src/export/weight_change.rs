//! What an adapter does to a weight, in numbers: the matrix that it adds, computed in f64 a few rows at a time.

use crate::models::adapter::{AdapterModule, Change, Factor, Matrix};
use rayon::prelude::*;
use std::ops::Range;

/// A change whose factors are ready to be multiplied.
#[derive(Debug, Clone)]
pub struct WeightChange {
    rows: usize,
    columns: usize,
    scale: f64,
    product: Product,
}

/// A matrix in f64, row by row.
#[derive(Debug, Clone)]
struct Wide {
    columns: usize,
    values: Vec<f64>,
}

#[derive(Debug, Clone)]
enum Product {
    /// `left right`.
    LowRank(Wide, Wide),
    /// `(left right) ∘ (left right)`.
    Hadamard([(Wide, Wide); 2]),
    /// `left ⊗ right`.
    Kronecker(Wide, Wide),
}

impl Wide {
    fn of(matrix: &Matrix) -> Self {
        Self {
            columns: matrix.columns,
            values: matrix.values.iter().map(|&value| f64::from(value)).collect(),
        }
    }

    fn of_factor(factor: &Factor) -> Self {
        match factor {
            Factor::Whole(matrix) => Self::of(matrix),
            Factor::Product(left, right) => Self::of(left).times(&Self::of(right)),
        }
    }

    fn rows(&self) -> usize {
        self.values.len() / self.columns.max(1)
    }

    fn row(&self, row: usize) -> &[f64] {
        &self.values[row * self.columns..][..self.columns]
    }

    /// `sum` plus row `row` of `self right`.
    fn add_row_times(&self, row: usize, right: &Self, sum: &mut [f64]) {
        for (factor, right) in self.row(row).iter().zip(right.values.chunks(right.columns.max(1))) {
            if *factor != 0.0 {
                sum.iter_mut().zip(right).for_each(|(sum, value)| *sum += factor * value);
            }
        }
    }

    fn times(&self, right: &Self) -> Self {
        let mut values = vec![0.0; self.rows() * right.columns];
        for (row, sum) in values.chunks_mut(right.columns.max(1)).enumerate() {
            self.add_row_times(row, right, sum);
        }
        Self { columns: right.columns, values }
    }
}

impl WeightChange {
    /// The change of `change`, DoRA's magnitudes aside.
    pub fn new(change: &Change) -> Self {
        let (rows, columns) = size(change);
        let (scale, product) = match change {
            Change::LowRank { a, b, scale } => (*scale, Product::LowRank(Wide::of(b), Wide::of(a))),
            Change::Hadamard { w1_a, w1_b, w2_a, w2_b, scale } => {
                let pair = |a, b| (Wide::of(a), Wide::of(b));
                (*scale, Product::Hadamard([pair(w1_a, w1_b), pair(w2_a, w2_b)]))
            }
            Change::Kronecker { w1, w2, scale } => {
                (*scale, Product::Kronecker(Wide::of_factor(w1), Wide::of_factor(w2)))
            }
        };
        Self { rows, columns, scale, product }
    }

    /// Rows of the weight.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Columns of the weight.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// The rows `rows` of the change, `[rows, in]`.
    pub fn delta(&self, rows: Range<usize>) -> Vec<f64> {
        let mut delta = vec![0.0; rows.len() * self.columns];
        delta.par_chunks_mut(self.columns.max(1)).zip(rows).for_each(|(out, row)| self.write_row(row, out));
        delta
    }

    fn write_row(&self, row: usize, out: &mut [f64]) {
        match &self.product {
            Product::LowRank(left, right) => left.add_row_times(row, right, out),
            Product::Hadamard([(left, right), other]) => {
                left.add_row_times(row, right, out);
                let mut second = vec![0.0; out.len()];
                other.0.add_row_times(row, &other.1, &mut second);
                out.iter_mut().zip(second).for_each(|(out, second)| *out *= second);
            }
            Product::Kronecker(left, right) => {
                let (outer, inner) = (left.row(row / right.rows()), right.row(row % right.rows()));
                for (out, outer) in out.chunks_mut(right.columns.max(1)).zip(outer) {
                    out.iter_mut().zip(inner).for_each(|(out, inner)| *out = outer * inner);
                }
            }
        }
        out.iter_mut().for_each(|value| *value *= self.scale);
    }
}

/// What a magnitude is divided by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowNorm {
    /// The length of a row of `W + delta`: DoRA as published, PEFT, LyCORIS.
    Changed,
    /// The length of a row of `W`: ComfyUI with magnitudes of the output axis.
    Base,
}

/// Row by row, `W + delta` scaled to its magnitudes where there are any; `weight` has the rows `first..` of W.
pub fn changed_rows(
    weight: &[f64],
    delta: &[f64],
    columns: usize,
    magnitudes: Option<(&[f32], RowNorm)>,
) -> Vec<f64> {
    let mut changed: Vec<f64> = weight.iter().zip(delta).map(|(weight, delta)| weight + delta).collect();
    let Some((magnitudes, norm)) = magnitudes else { return changed };
    let rows = changed.chunks_mut(columns.max(1)).zip(weight.chunks(columns.max(1))).zip(magnitudes);
    for ((row, base), &magnitude) in rows {
        let length = match norm {
            RowNorm::Changed => length(row),
            RowNorm::Base => length(base),
        };
        let factor = if length > 0.0 { f64::from(magnitude) / length } else { 0.0 };
        row.iter_mut().for_each(|value| *value *= factor);
    }
    changed
}

/// Euclidean length.
pub fn length(values: &[f64]) -> f64 {
    values.iter().map(|value| value * value).sum::<f64>().sqrt()
}

/// Rows and columns of the weight that `change` belongs to.
pub fn size(change: &Change) -> (usize, usize) {
    match change {
        Change::LowRank { a, b, .. } => (b.rows, a.columns),
        Change::Hadamard { w1_a, w1_b, .. } => (w1_a.rows, w1_b.columns),
        Change::Kronecker { w1, w2, .. } => {
            let ((l, m), (k, n)) = (factor_size(w1), factor_size(w2));
            (l * k, m * n)
        }
    }
}

/// Rows and columns of a factor.
pub fn factor_size(factor: &Factor) -> (usize, usize) {
    match factor {
        Factor::Whole(matrix) => (matrix.rows, matrix.columns),
        Factor::Product(left, right) => (left.rows, right.columns),
    }
}

/// The rank by which alpha is divided; `None` for a Kronecker product of whole factors, whose scale is 1.
pub fn rank(change: &Change) -> Option<usize> {
    match change {
        Change::LowRank { a, .. } => Some(a.rows),
        Change::Hadamard { w1_b, .. } => Some(w1_b.rows),
        Change::Kronecker { w1, w2, .. } => match (w2, w1) {
            (Factor::Product(left, _), _) | (_, Factor::Product(left, _)) => Some(left.columns),
            _ => None,
        },
    }
}

/// The factor on the change's product.
pub fn scale(change: &Change) -> f64 {
    match change {
        Change::LowRank { scale, .. } | Change::Hadamard { scale, .. } | Change::Kronecker { scale, .. } => {
            *scale
        }
    }
}

/// The same product with another factor.
pub fn with_scale(change: Change, scale: f64) -> Change {
    match change {
        Change::LowRank { a, b, .. } => Change::LowRank { a, b, scale },
        Change::Hadamard { w1_a, w1_b, w2_a, w2_b, .. } => Change::Hadamard { w1_a, w1_b, w2_a, w2_b, scale },
        Change::Kronecker { w1, w2, .. } => Change::Kronecker { w1, w2, scale },
    }
}

/// What the kind of an adapter is called.
pub fn kind(module: &AdapterModule) -> &'static str {
    match (&module.change, module.magnitude.is_some()) {
        (Change::LowRank { .. }, false) => "LoRA",
        (Change::LowRank { .. }, true) => "DoRA",
        (Change::Hadamard { .. }, false) => "LoHa",
        (Change::Hadamard { .. }, true) => "LoHa with magnitudes",
        (Change::Kronecker { .. }, false) => "LoKr",
        (Change::Kronecker { .. }, true) => "LoKr with magnitudes",
    }
}

/// All matrices of a change with the names that LyCORIS gives them (`lora_down`, `lokr_w2_a`).
pub fn matrices(change: &Change) -> Vec<(&'static str, &Matrix)> {
    fn factor<'a>(factor: &'a Factor, names: [&'static str; 3], all: &mut Vec<(&'static str, &'a Matrix)>) {
        match factor {
            Factor::Whole(matrix) => all.push((names[0], matrix)),
            Factor::Product(left, right) => all.extend([(names[1], left), (names[2], right)]),
        }
    }
    match change {
        Change::LowRank { a, b, .. } => vec![("lora_down", a), ("lora_up", b)],
        Change::Hadamard { w1_a, w1_b, w2_a, w2_b, .. } => {
            vec![("hada_w1_a", w1_a), ("hada_w1_b", w1_b), ("hada_w2_a", w2_a), ("hada_w2_b", w2_b)]
        }
        Change::Kronecker { w1, w2, .. } => {
            let mut all = Vec::new();
            factor(w1, ["lokr_w1", "lokr_w1_a", "lokr_w1_b"], &mut all);
            factor(w2, ["lokr_w2", "lokr_w2_a", "lokr_w2_b"], &mut all);
            all
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matrix(rows: usize, columns: usize, values: &[f32]) -> Matrix {
        Matrix { rows, columns, values: values.to_vec() }
    }

    #[test]
    fn each_kind_is_its_formula() {
        let a = matrix(1, 2, &[1.0, 2.0]);
        let b = matrix(2, 1, &[3.0, 4.0]);
        let low = Change::LowRank { a: a.clone(), b: b.clone(), scale: 0.5 };
        assert_eq!(WeightChange::new(&low).delta(0..2), [1.5, 3.0, 2.0, 4.0]);
        assert_eq!(WeightChange::new(&low).delta(1..2), [2.0, 4.0]);
        let hadamard = Change::Hadamard {
            w1_a: b.clone(),
            w1_b: a.clone(),
            w2_a: b.clone(),
            w2_b: a.clone(),
            scale: 1.0,
        };
        assert_eq!(WeightChange::new(&hadamard).delta(0..2), [9.0, 36.0, 16.0, 64.0]);
        // [1, 2] ⊗ [[3], [4]] = [[3, 6], [4, 8]].
        let kronecker = Change::Kronecker { w1: Factor::Whole(a), w2: Factor::Whole(b), scale: 2.0 };
        assert_eq!(size(&kronecker), (2, 2));
        assert_eq!(WeightChange::new(&kronecker).delta(0..2), [6.0, 12.0, 8.0, 16.0]);
    }

    #[test]
    fn magnitudes_set_the_length_of_rows() {
        let changed = changed_rows(&[3.0, 0.0], &[0.0, 4.0], 2, Some((&[10.0], RowNorm::Changed)));
        assert_eq!(changed, [6.0, 8.0]);
        let base = changed_rows(&[3.0, 0.0], &[0.0, 4.0], 2, Some((&[6.0], RowNorm::Base)));
        assert_eq!(base, [6.0, 8.0]);
    }
}
