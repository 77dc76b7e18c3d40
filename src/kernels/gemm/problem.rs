//! What a launch of matrix products computes: matrices in device memory, segments, outputs.

use crate::device::cuda::{Address, Operands, vectorised};
use crate::error::Result;
use crate::kernels::activation::Activation;
use crate::kernels::contract::Shapes;
use crate::tensor::{DType, Shape, TensorId};
use std::ops::Range;

/// Bytes of one bf16.
const ELEMENT: usize = 2;

/// Where operands are. Before there are places, a plan asks the same questions of shapes alone.
#[derive(Clone, Copy)]
pub enum Places<'a> {
    /// On a card.
    OnCard(&'a Operands<'a>),
    /// Nowhere yet.
    Planned(&'a dyn Shapes),
}

impl Places<'_> {
    /// The shape of a tensor.
    pub fn shape(&self, id: TensorId) -> &Shape {
        match self {
            Self::OnCard(operands) => operands.shape(id),
            Self::Planned(shapes) => shapes.shape(id),
        }
    }

    /// The address of a tensor whose elements must be `dtype`.
    pub fn address(&self, kernel: &str, id: TensorId, dtype: DType) -> Result<Address> {
        match self {
            Self::OnCard(operands) => operands.address(kernel, id, dtype),
            Self::Planned(_) => Ok(0),
        }
    }

    /// A tensor of either type that a gated residual is added to.
    pub fn stream(&self, kernel: &str, id: TensorId) -> Result<Stream> {
        match self {
            Self::OnCard(operands) if operands.dtype(id) == DType::F32 => {
                Ok(Stream::F32(operands.f32(kernel, id)?))
            }
            _ => Ok(Stream::Bf16(self.matrix(kernel, id)?)),
        }
    }

    /// A bf16 tensor as a matrix of its innermost rows.
    pub fn matrix(&self, kernel: &str, id: TensorId) -> Result<DeviceMatrix> {
        let (shape, address) = (self.shape(id), self.address(kernel, id, DType::Bf16)?);
        Ok(DeviceMatrix { address, rows: shape.rows(), columns: shape.columns(), stride: shape.columns() })
    }
}

/// A bf16 matrix in device memory, or a window of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeviceMatrix {
    /// Its first element.
    pub address: Address,
    /// Rows.
    pub rows: usize,
    /// Columns.
    pub columns: usize,
    /// Elements from row to row.
    pub stride: usize,
}

impl DeviceMatrix {
    /// The window of these rows.
    pub fn rows_in(self, rows: Range<usize>) -> Self {
        let address = self.address + (rows.start * self.stride * ELEMENT) as Address;
        Self { address, rows: rows.len(), ..self }
    }

    /// The window of these columns.
    pub fn columns_in(self, columns: Range<usize>) -> Self {
        let address = self.address + (columns.start * ELEMENT) as Address;
        Self { address, columns: columns.len(), ..self }
    }

    /// Whether its rows can be accessed sixteen bytes at a time, to their end.
    pub fn vectorised(&self) -> bool {
        vectorised(self.address, self.stride, ELEMENT) && vectorised(0, self.columns, ELEMENT)
    }
}

/// A stretch of the sum over k.
#[derive(Debug, Clone)]
pub struct Segment {
    /// A: `[m, k]`, or `[k, m]` where it is transposed.
    pub a: DeviceMatrix,
    /// B: `[columns, k]` or `[k, n]`.
    pub b: DeviceMatrix,
    /// Columns of C that it adds to; all where B is `[k, n]`.
    pub columns: Range<usize>,
    /// Multiplies its product, where it is a scaled one.
    pub scale: f32,
}

impl Segment {
    /// Its length.
    fn k(&self, transposed: bool) -> usize {
        if transposed { self.a.rows } else { self.a.columns }
    }
}

/// What a range of columns (or rows) has: scales, or the gain of a norm; bf16.
#[derive(Debug, Clone)]
pub struct PerColumn {
    /// The values; the first is that of the range's start.
    pub values: Address,
    /// The range.
    pub columns: Range<usize>,
}

/// One product C = A B.
#[derive(Debug, Clone)]
pub struct Problem {
    /// Rows of C.
    pub m: usize,
    /// Columns of C.
    pub n: usize,
    /// Segments whose products are multiplied by their scales; those over the same columns have the same one.
    pub scaled: Vec<Segment>,
    /// The others.
    pub segments: Vec<Segment>,
    /// Multiplies the whole product.
    pub factor: f32,
    /// Multiply columns of the product, or rows of a weight gradient.
    pub output_scales: Vec<PerColumn>,
    /// `[n]`, added after the scales.
    pub bias: Option<Address>,
    /// The lane of the dropout mask.
    pub adapter: u32,
    /// Where the product goes.
    pub output: Output,
}

/// Where a product goes.
#[derive(Debug, Clone)]
pub enum Output {
    /// To a bf16 matrix.
    Matrix {
        /// C; none where only what `finish` makes of it is written.
        c: Option<DeviceMatrix>,
        /// Whether it is added to what is there.
        accumulate: bool,
        /// What becomes of it.
        finish: Finish,
    },
    /// To an f32 matrix `[m, n]`.
    Sums {
        /// The first element.
        sums: Address,
        /// Whether it is added to what is there.
        accumulate: bool,
    },
    /// Multiplied with dY and summed over rows, to f32 `[n]`.
    ColumnSums {
        /// dY, `[m, n]`.
        dout: DeviceMatrix,
        /// The first element.
        sums: Address,
        /// Whether it is added to what is there.
        accumulate: bool,
    },
}

/// The matrix that a gated residual is added to.
#[derive(Debug, Clone, Copy)]
pub enum Stream {
    /// In bf16.
    Bf16(DeviceMatrix),
    /// In f32, `[m, n]`: its first element.
    F32(Address),
}

/// The f32 gates of a gated residual: a chunk of every sample's modulation vector.
#[derive(Debug, Clone, Copy)]
pub struct Gates {
    /// The first sample's.
    pub first: Address,
    /// Elements from sample to sample.
    pub stride: usize,
    /// Rows of Y that share a gate.
    pub rows_a_sample: usize,
}

/// What becomes of a linear layer's Y; results are matrices as Y.
#[derive(Debug, Clone)]
pub enum Finish {
    /// Nothing.
    Store,
    /// `result` = f(Y).
    Activate {
        /// f.
        activation: Activation,
        /// The result.
        result: DeviceMatrix,
    },
    /// x += gate * Y.
    GatedResidual {
        /// x, before and after.
        x: Stream,
        /// The gates.
        gate: Gates,
    },
    /// `result` = Y with the heads of some columns normalised.
    QkNorm {
        /// Gains of [`HEAD_DIM`] values, repeated over the columns.
        norms: Vec<PerColumn>,
        /// The result.
        result: DeviceMatrix,
    },
}

/// The head dimension that the QkNorm epilogue has; heads must start at a multiple of it.
pub const HEAD_DIM: usize = 64;

impl Problem {
    /// A product without any segment.
    pub fn empty(m: usize, n: usize, output: Output) -> Self {
        let (scaled, segments, output_scales) = (Vec::new(), Vec::new(), Vec::new());
        Self { m, n, scaled, segments, factor: 1.0, output_scales, bias: None, adapter: 0, output }
    }

    /// A product of one segment.
    pub fn plain(m: usize, n: usize, a: DeviceMatrix, b: DeviceMatrix, output: Output) -> Self {
        let segments = vec![Segment { a, b, columns: 0..n, scale: 1.0 }];
        Self { segments, ..Self::empty(m, n, output) }
    }

    /// Length of the sum for a column that has the most.
    pub fn k(&self, transposed: bool) -> usize {
        let length = |segment: &Segment| segment.k(transposed);
        let over = |columns: &Range<usize>| {
            self.scaled.iter().filter(|other| other.columns == *columns).map(length).sum()
        };
        let scaled: usize = self.scaled.iter().map(|segment| over(&segment.columns)).max().unwrap_or(0);
        let whole = |segment: &&Segment| segment.columns == (0..self.n);
        let sum: usize = self.segments.iter().filter(whole).map(length).sum();
        let part = self.segments.iter().filter(|segment| !whole(segment)).map(length).max().unwrap_or(0);
        scaled + sum.max(part)
    }

    /// Slices of `block` that the sum over k has where it may be split.
    pub fn slices(&self, transposed: bool, block: usize) -> usize {
        self.segments.iter().map(|segment| segment.k(transposed).div_ceil(block)).sum()
    }

    /// Whether the sum over k may be split among blocks, to be added up by a second launch.
    pub fn splits(&self) -> bool {
        let a = self.segments.first().map(|segment| segment.a);
        let one_a =
            self.segments.iter().all(|segment| Some(segment.a) == a && segment.columns == (0..self.n));
        one_a
            && self.scaled.is_empty()
            && match &self.output {
                Output::Matrix { accumulate, finish, .. } => {
                    let plain = matches!(finish, Finish::Store) && !accumulate;
                    plain && self.bias.is_none() && self.output_scales.is_empty()
                }
                Output::Sums { .. } => true,
                Output::ColumnSums { .. } => false,
            }
    }
}
