//! A weight of a model: which rows of which files it is made of, and how to read it.

use super::convert;
use super::mapped::TensorFile;
use crate::error::{Error, Result};
use crate::tensor::{DType, Shape};
use std::ops::Range;
use std::sync::Arc;

/// How the elements of a weight are read from its file rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Layout {
    /// As stored: row-major, rows in the order of [`Weight::rows`].
    Rows,
    /// A convolution kernel stored as [out, in, kh, kw] and read as [out, kh, kw, in].
    ChannelsLast,
}

/// The scales that turn stored values into weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scales {
    /// Stored values are the weights.
    None,
    /// One scale for all.
    PerTensor,
    /// One for each row.
    PerChannel,
    /// One for each block of a row.
    PerBlock,
}

/// Where a weight lives while the model runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Residency {
    /// In the device's memory for as long as the model is there.
    Device,
    /// In page-locked host memory, copied to the device when needed.
    PinnedHost,
    /// In its file, read when needed.
    Streamed,
}

/// Consecutive rows (extents of dimension 0) of one tensor in a file.
#[derive(Debug, Clone)]
pub struct FileRows {
    /// The file.
    pub file: Arc<TensorFile>,
    /// The tensor's name in the file.
    pub tensor: String,
    /// Rows of it.
    pub rows: Range<usize>,
}

/// One weight under its canonical name.
#[derive(Debug, Clone)]
pub struct Weight {
    /// Canonical name.
    pub name: String,
    /// Shape as read, that is after `layout` has been applied.
    pub shape: Shape,
    /// Element type in the files.
    pub storage: DType,
    /// How the elements are arranged.
    pub layout: Layout,
    /// How stored values become weights.
    pub scales: Scales,
    /// Where it lives.
    pub residency: Residency,
    /// The file rows it is made of, one after another along dimension 0.
    pub rows: Vec<FileRows>,
}

impl Weight {
    /// Number of elements.
    pub fn elements(&self) -> usize {
        self.shape.elements()
    }

    /// Bytes in the files.
    pub fn bytes(&self) -> usize {
        self.elements() * self.storage.size()
    }

    /// Extent of dimension 0 (1 for a scalar).
    pub fn row_count(&self) -> usize {
        self.shape.dims().first().copied().unwrap_or(1)
    }

    /// Reads the whole weight as f32.
    ///
    /// Fails, naming file and tensor, if a value is NaN or infinite; fails if `out` has another number of elements.
    pub fn read_f32(&self, out: &mut [f32]) -> Result<()> {
        self.read_rows_f32(0..self.row_count(), out)
    }

    /// Reads the rows `rows` of dimension 0 as f32; errors as [`Weight::read_f32`].
    pub fn read_rows_f32(&self, rows: Range<usize>, out: &mut [f32]) -> Result<()> {
        if self.scales != Scales::None {
            return Err(self.wrong("weights with scales are not supported yet"));
        }
        let row = self.row_elements();
        if rows.start > rows.end || rows.end > self.row_count() || out.len() != rows.len() * row {
            let (count, length) = (self.row_count(), out.len());
            return Err(self.wrong(format!("rows {rows:?} of {count} were asked for into {length} values")));
        }
        let mut filled = 0;
        for piece in self.stored_rows(rows)? {
            let out = &mut out[filled..][..piece.bytes.len() / self.storage.size()];
            filled += out.len();
            if !convert::to_finite_f32(self.storage, piece.bytes, out) {
                return Err(piece.source.not_finite(self));
            }
        }
        if self.layout == Layout::ChannelsLast {
            self.move_channels_last(out);
        }
        Ok(())
    }

    /// Looks at every value and keeps none; errors as [`Weight::read_f32`].
    pub fn check_finite(&self) -> Result<()> {
        let pieces = self.stored_rows(0..self.row_count())?;
        match pieces.iter().find(|piece| !convert::is_finite(self.storage, piece.bytes)) {
            Some(piece) => Err(piece.source.not_finite(self)),
            None => Ok(()),
        }
    }

    /// The same elements as a matrix of their innermost rows, so that those can be read one stretch at a time.
    ///
    /// For weights made of one tensor whose leading extents are 1, such as a table stored as [1, n, columns].
    pub fn as_matrix(&self) -> Self {
        let mut matrix = self.clone();
        matrix.shape = [self.shape.rows(), self.shape.columns()].into();
        matrix.rows.iter_mut().for_each(|source| source.rows = 0..self.shape.rows());
        matrix
    }

    /// The shape in the files, that is before `layout` is applied.
    pub fn stored_shape(&self) -> Shape {
        match (self.layout, self.shape.dims()) {
            (Layout::ChannelsLast, [outputs, height, width, inputs]) => {
                Shape::from([*outputs, *inputs, *height, *width])
            }
            _ => self.shape.clone(),
        }
    }

    /// All bytes as stored, in canonical row order.
    pub fn read_stored(&self) -> Result<Vec<u8>> {
        let pieces = self.stored_rows(0..self.row_count())?;
        Ok(pieces.iter().flat_map(|piece| piece.bytes).copied().collect())
    }

    /// The bytes of the rows `rows` as stored, in canonical row order, one piece for each stretch of a file.
    pub(super) fn stored_rows(&self, rows: Range<usize>) -> Result<Vec<Piece<'_>>> {
        let row_bytes = self.row_elements() * self.storage.size();
        let mut first = 0;
        let mut pieces = Vec::new();
        for source in &self.rows {
            let last = first + source.rows.len();
            let (start, end) = (rows.start.max(first), rows.end.min(last));
            if start < end {
                let in_file = source.rows.start + start - first..source.rows.start + end - first;
                let view = source.file.view(&source.tensor)?;
                let bytes = view.bytes.get(in_file.start * row_bytes..in_file.end * row_bytes);
                let bytes = bytes.ok_or_else(|| self.wrong(format!("it has no rows {in_file:?}")))?;
                pieces.push(Piece { source, bytes });
            }
            first = last;
        }
        Ok(pieces)
    }

    /// Elements of one row of dimension 0.
    pub(super) fn row_elements(&self) -> usize {
        self.shape.dims().iter().skip(1).product()
    }

    /// [rows, in, kh·kw] to [rows, kh·kw, in], in place.
    fn move_channels_last(&self, values: &mut [f32]) {
        let channels = self.shape.columns();
        let row = self.row_elements();
        let taps = row / channels.max(1);
        if taps <= 1 || channels <= 1 {
            return;
        }
        let mut stored = vec![0.0; row];
        for row in values.chunks_mut(row) {
            stored.copy_from_slice(row);
            for (channel, kernel) in stored.chunks(taps).enumerate() {
                for (tap, value) in kernel.iter().enumerate() {
                    row[tap * channels + channel] = *value;
                }
            }
        }
    }

    /// An error about this weight at the first file it is made of.
    pub(super) fn wrong(&self, cause: impl Into<String>) -> Error {
        match self.rows.first() {
            Some(source) => Error::tensor(source.file.path(), &source.tensor, cause),
            None => Error::new(crate::error::ErrorKind::Weights, format!("weight `{}`", self.name), cause),
        }
    }
}

/// A stretch of stored rows.
pub(super) struct Piece<'a> {
    pub source: &'a FileRows,
    pub bytes: &'a [u8],
}

impl FileRows {
    fn not_finite(&self, weight: &Weight) -> Error {
        let cause = format!("there are values that are NaN or infinite (weight `{}`)", weight.name);
        Error::tensor(self.file.path(), &self.tensor, cause)
            .hint("the file is damaged or the model diverged when it was trained; use another copy")
    }
}
