//! How kernels that are bounded by memory spread over a card: element by element, row by row, column by column.
//!
//! The device's half is in kernels/elementwise.cuh, rows.cuh and column_sums.cuh.

use crate::device::cuda::{Address, Launches, vectorised};
use crate::error::{Error, Result};
use crate::kernels::parameters::{
    COLUMN_SUMS_THREADS, ColumnSumsParams, ELEMENTWISE_BATCH, ELEMENTWISE_THREADS, ROW_SEGMENT, ROW_THREADS,
};
use crate::tensor::Shape;

/// Elements of a vector.
const VECTOR: u64 = 8;
/// Lanes of a warp.
const LANES: u32 = 32;
/// Bytes of an element of a row.
const BF16: usize = 2;

/// The fewest rows of a band, but for the last.
const BAND_ROWS: usize = 64;
/// The most bands of a sample.
const MOST_BANDS: usize = 128;
/// The most blocks in x, y and z.
const MOST_BLOCKS: [usize; 3] = [i32::MAX as usize, 65535, 65535];

/// `value` as a kernel's 32-bit word.
///
/// # Errors
/// It is too large.
pub fn word(kernel: &str, value: usize) -> Result<u32> {
    u32::try_from(value).map_err(|_| Error::shape(kernel, format!("an extent of {value} is more than 2^32")))
}

/// Blocks in x, y and z as a launch takes them.
///
/// # Errors
/// There are more than a card takes.
pub fn grid(kernel: &str, blocks: [usize; 3]) -> Result<[u32; 3]> {
    if blocks.iter().zip(MOST_BLOCKS).all(|(&blocks, most)| blocks <= most) {
        return Ok(blocks.map(|blocks| blocks as u32));
    }
    Err(Error::shape(kernel, format!("{blocks:?} blocks are more than a card takes")))
}

/// How elements spread over a card.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Elements {
    /// How many there are.
    pub elements: u64,
    /// 1 if every operand starts at a multiple of sixteen bytes.
    pub aligned: u32,
}

impl Elements {
    /// The elements of operands of this shape at `addresses`.
    pub fn new(shape: &Shape, addresses: &[Address]) -> Self {
        let aligned = addresses.iter().all(|&address| vectorised(address, VECTOR as usize, BF16));
        Self { elements: shape.elements() as u64, aligned: aligned.into() }
    }

    /// Blocks, of `ELEMENTWISE_THREADS` threads.
    ///
    /// # Errors
    /// There are too many.
    pub fn grid(&self, kernel: &str) -> Result<[u32; 3]> {
        let width = if self.aligned == 1 { VECTOR } else { 1 };
        let block = u64::from(ELEMENTWISE_THREADS * ELEMENTWISE_BATCH) * width;
        grid(kernel, [self.elements.div_ceil(block) as usize, 1, 1])
    }
}

/// A kernel's symbols for rows of at most 512, 1536 and 2560 columns, and for any other row.
pub type RowForms = [&'static str; 4];

/// The widest row of all forms but the last, in columns.
const WIDEST: [u32; 3] = [512, 1536, 2560];

/// How rows spread over a card.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rows {
    /// How many there are.
    pub rows: u32,
    /// Columns of a row.
    pub columns: u32,
    /// 1 if every row of every operand starts at a multiple of sixteen bytes.
    pub aligned: u32,
}

impl Rows {
    /// The rows of bf16 operands of this shape at `addresses`.
    ///
    /// # Errors
    /// There are too many.
    pub fn new(kernel: &str, shape: &Shape, addresses: &[Address]) -> Result<Self> {
        let aligned = addresses.iter().all(|&address| vectorised(address, shape.columns(), BF16));
        let (rows, columns) = (word(kernel, shape.rows())?, word(kernel, shape.columns())?);
        Ok(Self { rows, columns, aligned: aligned.into() })
    }

    /// The narrowest form that holds a row.
    pub fn form(&self, forms: &RowForms) -> &'static str {
        let narrowest = WIDEST.iter().position(|&widest| self.aligned == 1 && self.columns <= widest);
        forms[narrowest.unwrap_or(WIDEST.len())]
    }

    /// Blocks, of `ROW_THREADS` threads, where a warp has a row.
    pub fn grid(&self) -> [u32; 3] {
        // Never more than a card takes: a quarter of 2^32.
        [self.rows.div_ceil(ROW_THREADS / LANES), 1, 1]
    }

    /// Blocks where warps share rows in pieces.
    ///
    /// # Errors
    /// There are too many pieces.
    pub fn grid_of_pieces(&self, kernel: &str) -> Result<[u32; 3]> {
        let pieces = self.rows as usize * self.columns.div_ceil(ROW_SEGMENT) as usize;
        Ok([word(kernel, pieces)?.div_ceil(ROW_THREADS / LANES), 1, 1])
    }
}

/// Sums over the rows of each sample, column by column, in two stages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ColumnSums {
    /// Samples, each with sums of its own.
    pub samples: usize,
    /// Rows of a sample.
    pub rows: usize,
    /// Columns of a row.
    pub columns: usize,
    /// Sums of a column.
    pub sums: usize,
    /// Lanes that share a row.
    pub lanes: usize,
}

impl ColumnSums {
    /// Rows of a band, which one block sums.
    pub fn band_rows(&self) -> usize {
        self.rows.div_ceil(MOST_BANDS).max(BAND_ROWS)
    }

    /// Bands of a sample.
    pub fn bands(&self) -> usize {
        self.rows.div_ceil(self.band_rows())
    }

    /// Bytes of the bands' sums, `[samples, bands, sums, columns]` in f32.
    pub fn bytes(&self) -> usize {
        self.samples * self.bands() * self.sums * self.columns * size_of::<f32>()
    }

    /// Blocks of the first stage, of `COLUMN_SUMS_THREADS` threads: strips of columns, bands, samples.
    ///
    /// # Errors
    /// There are too many.
    pub fn grid(&self, kernel: &str, aligned: u32) -> Result<[u32; 3]> {
        let strip = self.lanes * if aligned == 1 { VECTOR as usize } else { 1 };
        grid(kernel, [self.columns.div_ceil(strip), self.bands(), self.samples])
    }

    /// Adds the launch that puts the sums of the bands at `partials` into chunks of modulation vectors at `out`,
    /// each `length` elements long.
    ///
    /// # Errors
    /// There is too much.
    pub fn add_up(
        &self,
        kernel: &str,
        partials: Address,
        vectors: &ModulationVectors,
        to: &mut Launches,
    ) -> Result<()> {
        let parameters = ColumnSumsParams {
            partials,
            out: vectors.address,
            bands: word(kernel, self.bands())?,
            sums: word(kernel, self.sums)?,
            columns: word(kernel, self.columns)?,
            length: word(kernel, vectors.length)?,
            chunks: [word(kernel, vectors.chunks[0])?, word(kernel, vectors.chunks[1])?],
            accumulates: vectors.accumulates.into(),
            reserved: 0,
        };
        let blocks = vectors.length.div_ceil(COLUMN_SUMS_THREADS as usize);
        let grid = grid(kernel, [blocks, self.samples, 1])?;
        to.push("add_column_sums", grid, COLUMN_SUMS_THREADS, &parameters);
        Ok(())
    }
}

/// Where column sums go: chunks of one modulation vector a sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ModulationVectors {
    /// Of the first sample's vector.
    pub address: Address,
    /// Elements of a vector.
    pub length: usize,
    /// The chunk of every sum.
    pub chunks: [usize; 2],
    /// Whether the chunks are added to and the rest is left alone; else the rest becomes zero.
    pub accumulates: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORMS: RowForms = ["512", "1536", "2560", "any"];

    #[test]
    fn a_row_gets_the_narrowest_form_that_holds_it() {
        let form = |columns: usize, address: Address| {
            Rows::new("", &[3, columns].into(), &[256, address]).unwrap().form(&FORMS)
        };
        assert_eq!(form(8, 256), "512");
        assert_eq!(form(512, 256), "512");
        assert_eq!(form(520, 256), "1536");
        assert_eq!(form(2432, 256), "2560");
        assert_eq!(form(4096, 256), "any");
        assert_eq!(form(771, 256), "any", "rows do not start at multiples of sixteen bytes");
        assert_eq!(form(512, 258), "any", "one operand does not");
    }

    #[test]
    fn elements_beyond_two_to_the_31_have_enough_blocks() {
        let shape: Shape = [3, 1 << 31].into();
        assert_eq!(Elements::new(&shape, &[256]).grid("").unwrap(), [3 << 18, 1, 1]);
        assert_eq!(Elements::new(&shape, &[2]).grid("").unwrap(), [3 << 21, 1, 1]);
        assert_eq!(Elements::new(&[8193].into(), &[0]).grid("").unwrap(), [2, 1, 1]);
    }

    #[test]
    fn every_row_is_in_a_band() {
        for rows in [1, 63, 64, 65, 4096, 8192, 8193, 170_000] {
            let sums = ColumnSums { samples: 2, rows, columns: 24, sums: 2, lanes: 32 };
            assert!(sums.bands() * sums.band_rows() >= rows);
            assert!((sums.bands() - 1) * sums.band_rows() < rows);
            assert!(sums.bands() <= MOST_BANDS);
        }
    }

    #[test]
    fn extents_beyond_32_bits_are_refused() {
        let error = Rows::new("LayerNormModulate", &[1 << 33, 8].into(), &[0]).unwrap_err();
        assert!(error.to_string().contains("LayerNormModulate"));
    }
}
