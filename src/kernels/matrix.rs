//! Matrices as windows into slices, and their product: the one place that speaks to the GEMM crate.
//!
//! Products run on one thread each; kernels split work into parts of fixed size, so that results do not
//! depend on the number of threads.

use crate::device::cpu;
use crate::tensor::TensorId;
use gemm::Parallelism;
use std::marker::PhantomData;
use std::ops::Range;

/// A window to read: `rows` by `columns`, any strides.
#[derive(Debug, Clone, Copy)]
pub struct Matrix<'a> {
    base: *const f32,
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
    slice: PhantomData<&'a [f32]>,
}

// SAFETY: a `Matrix` is a shared borrow of a slice of f32.
unsafe impl Send for Matrix<'_> {}
// SAFETY: as above.
unsafe impl Sync for Matrix<'_> {}

impl<'a> Matrix<'a> {
    /// A whole slice as `rows` of `columns`.
    pub fn new(slice: &'a [f32], rows: usize, columns: usize) -> Self {
        assert_eq!(slice.len(), rows * columns, "a matrix of {rows} x {columns}");
        Self {
            base: slice.as_ptr(),
            rows,
            columns,
            row_stride: columns,
            column_stride: 1,
            slice: PhantomData,
        }
    }

    /// Rows of `columns` elements that start `row_stride` apart, and overlap where that is less than their length.
    pub fn overlapping(slice: &'a [f32], rows: usize, columns: usize, row_stride: usize) -> Self {
        let needed = rows.checked_sub(1).map_or(0, |last| last * row_stride + columns);
        assert!(needed <= slice.len(), "{rows} rows of {columns}, {row_stride} apart, in {}", slice.len());
        Self { base: slice.as_ptr(), rows, columns, row_stride, column_stride: 1, slice: PhantomData }
    }

    /// Its number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Its number of columns.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// The window of these rows.
    pub fn rows_in(self, range: Range<usize>) -> Self {
        assert!(range.start <= range.end && range.end <= self.rows, "rows {range:?} of {}", self.rows);
        // SAFETY: within the slice by the assertion (or an empty window, never read).
        let base = unsafe { self.base.add(range.start * self.row_stride) };
        Self { base, rows: range.len(), ..self }
    }

    /// The window of these columns.
    pub fn columns_in(self, range: Range<usize>) -> Self {
        self.transposed().rows_in(range).transposed()
    }

    /// Rows and columns exchanged.
    pub fn transposed(self) -> Self {
        Self {
            rows: self.columns,
            columns: self.rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
            ..self
        }
    }

    /// A row whose elements lie side by side.
    pub fn row(&self, index: usize) -> &'a [f32] {
        assert!(index < self.rows && self.column_stride == 1, "a contiguous row");
        // SAFETY: within the slice by the assertion.
        unsafe { std::slice::from_raw_parts(self.base.add(index * self.row_stride), self.columns) }
    }
}

/// A window to write: rows lie `row_stride` apart, the elements of a row side by side.
#[derive(Debug)]
pub struct MatrixMut<'a> {
    base: *mut f32,
    rows: usize,
    columns: usize,
    row_stride: usize,
    slice: PhantomData<&'a mut [f32]>,
}

// SAFETY: a `MatrixMut` is an exclusive borrow of its window of a slice of f32.
unsafe impl Send for MatrixMut<'_> {}

impl<'a> MatrixMut<'a> {
    /// A whole slice as `rows` of `columns`.
    pub fn new(slice: &'a mut [f32], rows: usize, columns: usize) -> Self {
        assert_eq!(slice.len(), rows * columns, "a matrix of {rows} x {columns}");
        Self { base: slice.as_mut_ptr(), rows, columns, row_stride: columns, slice: PhantomData }
    }

    /// Its number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Its number of columns.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Cuts into windows of `height` rows (the last may be shorter).
    pub fn split_rows(self, height: usize) -> Vec<MatrixMut<'a>> {
        (0..self.rows)
            .step_by(height.max(1))
            .map(|first| MatrixMut {
                // SAFETY: `first` is a row of the window; the parts do not overlap.
                base: unsafe { self.base.add(first * self.row_stride) },
                rows: height.min(self.rows - first),
                ..self
            })
            .collect()
    }

    /// Cuts into windows of `width` columns (the last may be narrower).
    pub fn split_columns(self, width: usize) -> Vec<MatrixMut<'a>> {
        let width = width.max(1);
        let widths = (0..self.columns).step_by(width).map(|first| width.min(self.columns - first));
        let widths: Vec<_> = widths.collect();
        self.split_columns_into(widths)
    }

    /// Cuts into windows of the given widths, from the left.
    pub fn split_columns_into(self, widths: impl IntoIterator<Item = usize>) -> Vec<MatrixMut<'a>> {
        let mut next = 0;
        let cut = |width: usize| {
            let first = next;
            next += width;
            assert!(next <= self.columns, "windows wider than the {} columns", self.columns);
            // SAFETY: within the window by the assertion; the parts do not overlap.
            MatrixMut { base: unsafe { self.base.add(first) }, columns: width, ..self }
        };
        widths.into_iter().map(cut).collect()
    }

    /// The window of these rows, for a while.
    pub fn rows_in(&mut self, range: Range<usize>) -> MatrixMut<'_> {
        assert!(range.start <= range.end && range.end <= self.rows, "rows {range:?} of {}", self.rows);
        // SAFETY: within the window by the assertion (or an empty window, never touched).
        let base = unsafe { self.base.add(range.start * self.row_stride) };
        MatrixMut { base, rows: range.len(), ..*self }
    }

    /// The window of these columns, for a while.
    pub fn columns_in(&mut self, range: Range<usize>) -> MatrixMut<'_> {
        assert!(
            range.start <= range.end && range.end <= self.columns,
            "columns {range:?} of {}",
            self.columns
        );
        // SAFETY: as in `rows_in`.
        MatrixMut { base: unsafe { self.base.add(range.start) }, columns: range.len(), ..*self }
    }

    /// The same window, to read.
    pub fn as_matrix(&self) -> Matrix<'_> {
        Matrix {
            base: self.base,
            rows: self.rows,
            columns: self.columns,
            row_stride: self.row_stride,
            column_stride: 1,
            slice: PhantomData,
        }
    }

    /// A row.
    pub fn row_mut(&mut self, index: usize) -> &mut [f32] {
        assert!(index < self.rows, "row {index} of {}", self.rows);
        // SAFETY: within the window by the assertion.
        unsafe { std::slice::from_raw_parts_mut(self.base.add(index * self.row_stride), self.columns) }
    }

    /// Sets every element.
    pub fn fill(&mut self, value: f32) {
        for row in 0..self.rows {
            self.row_mut(row).fill(value);
        }
    }
}

/// The operand as a matrix of its innermost rows.
pub fn rows_of<'a>(operands: &cpu::Operands<'a>, id: TensorId) -> Matrix<'a> {
    let shape = operands.shape(id);
    Matrix::new(operands.read(id), shape.rows(), shape.columns())
}

/// `out = scale * a b`, or with `accumulate` `out += scale * a b`.
///
/// A row has the same bits whatever is computed with it. The GEMM crate alone does not promise that: it has
/// other paths for products below [`SMALL`] elements and for single rows, and cuts long sums in other places
/// where both sides are short; so those products are brought to the common path.
pub fn multiply(out: &mut MatrixMut<'_>, accumulate: bool, scale: f32, a: Matrix<'_>, b: Matrix<'_>) {
    assert_eq!((out.rows, out.columns, a.columns), (a.rows, b.columns, b.rows), "a matrix product");
    if a.columns == 0 {
        if !accumulate {
            out.fill(0.0);
        }
    } else if out.columns > 1 && (out.rows == 1 || out.rows * out.columns <= SMALL) {
        (0..out.rows).for_each(|row| multiply_row(out, row, accumulate, scale, a, b));
    } else if out.columns <= SHORT && a.columns > LONG_SUM && out.rows > SHORT {
        for first in (0..out.rows).step_by(SHORT) {
            let rows = first..(first + SHORT).min(out.rows);
            multiply(&mut out.rows_in(rows.clone()), accumulate, scale, a.rows_in(rows), b);
        }
    } else {
        multiply_rows(out, accumulate, scale, a, b);
    }
}

/// Elements of a result up to which the GEMM crate takes another path.
const SMALL: usize = 256;
/// Extent of a result up to which it cuts sums in fixed places.
const SHORT: usize = 64;
/// Length of a sum up to which it is not cut.
const LONG_SUM: usize = 512;

/// One row of a product, computed as one of several equal rows that together are not small.
fn multiply_row(
    out: &mut MatrixMut<'_>,
    row: usize,
    accumulate: bool,
    scale: f32,
    a: Matrix<'_>,
    b: Matrix<'_>,
) {
    let mut scratch = [0.0f32; 2 * SMALL];
    let a = a.rows_in(row..row + 1);
    for first in (0..out.columns).step_by(SMALL) {
        let columns = first..(first + SMALL).min(out.columns);
        let target = &mut out.row_mut(row)[columns.clone()];
        let copies = SMALL / target.len() + 1;
        scratch[..target.len()].copy_from_slice(target);
        let mut rows = MatrixMut::new(&mut scratch[..copies * target.len()], copies, target.len());
        let a = Matrix { rows: copies, row_stride: 0, ..a };
        multiply_rows(&mut rows, accumulate, scale, a, b.columns_in(columns));
        target.copy_from_slice(&scratch[..target.len()]);
    }
}

fn multiply_rows(out: &mut MatrixMut<'_>, accumulate: bool, scale: f32, a: Matrix<'_>, b: Matrix<'_>) {
    // SAFETY: the windows lie within their slices and `out` is borrowed exclusively.
    unsafe {
        gemm::gemm(
            out.rows,
            out.columns,
            a.columns,
            out.base,
            1,
            out.row_stride as isize,
            accumulate,
            a.base,
            a.column_stride as isize,
            a.row_stride as isize,
            b.base,
            b.column_stride as isize,
            b.row_stride as isize,
            1.0,
            scale,
            false,
            false,
            false,
            Parallelism::None,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Purpose, Stream};

    fn normals(lane: u32, elements: usize) -> Vec<f32> {
        let mut values = vec![0.0; elements];
        Stream::new(1, Purpose::Noise, lane, 0, 0).fill_normal(&mut values);
        values
    }

    #[test]
    fn a_product_equals_the_sum_in_f64() {
        for (m, n, k) in [(1, 1, 1), (3, 5, 7), (17, 33, 64), (64, 128, 130), (1, 40, 9)] {
            let (a, b) = (normals(1, m * k), normals(2, n * k));
            let mut out = vec![1.0f32; m * n];
            let windows = (Matrix::new(&a, m, k), Matrix::new(&b, n, k).transposed());
            multiply(&mut MatrixMut::new(&mut out, m, n), true, 0.5, windows.0, windows.1);
            for row in 0..m {
                for column in 0..n {
                    let sum: f64 =
                        (0..k).map(|i| f64::from(a[row * k + i]) * f64::from(b[column * k + i])).sum();
                    let found = f64::from(out[row * n + column]);
                    assert!((found - (1.0 + 0.5 * sum)).abs() < 1e-5 * (k as f64).sqrt(), "{m} {n} {k}");
                }
            }
        }
    }

    /// Rows must not depend on how many others are computed with them: modulation vectors made for several
    /// steps at once equal those made for one, and the number of threads changes nothing.
    #[test]
    fn a_row_has_the_same_bits_whatever_is_computed_with_it() {
        let shapes =
            [(128, 128), (768, 128), (384, 256), (512, 1000), (128, 16), (2432, 2432), (7, 3), (16, 2000)];
        for (n, k) in shapes {
            let (m, b) = (67, normals(2, n * k));
            let a = normals(1, m * k);
            let product = |rows: Range<usize>| {
                let mut out = vec![0.0f32; rows.len() * n];
                let left = Matrix::new(&a, m, k).rows_in(rows.clone());
                let right = Matrix::new(&b, n, k).transposed();
                multiply(&mut MatrixMut::new(&mut out, rows.len(), n), false, 1.0, left, right);
                out
            };
            let whole = product(0..m);
            for rows in [0..1, 3..5, 5..9, 9..40, 40..67] {
                let part = product(rows.clone());
                assert!(part == whole[rows.start * n..rows.end * n], "n {n} k {k} rows {rows:?}");
            }
        }
    }
}
