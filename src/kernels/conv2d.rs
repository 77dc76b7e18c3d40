//! Convolution of channels-last pictures, in bands of output rows.
//!
//! The input rows of a band are gathered into scratch memory: padded, normalised where a norm stands in front of
//! the convolution, enlarged where the picture is to be. So neither the normalised nor the enlarged picture is
//! ever whole in memory. With channels last, the taps of one kernel row are neighbours in a gathered row:
//! overlapping windows of it are the left side of a product, and no tap is copied.
//!
//! Every output row is a product of its own, so its bits depend neither on the bands nor on the threads.

mod cuda;

use crate::device::cuda::{Launches, Operands};
use crate::device::{Limits, cpu};
use crate::error::{Error, Result};
use crate::kernels::contract::{Contract, Operand, Shapes, Update, expect, expect_shape};
use crate::kernels::group_norm::{Norm, PictureNorm};
use crate::kernels::matrix::{Matrix, MatrixMut, multiply};
use crate::kernels::parallel;
use crate::tensor::{Shape, TensorId};

/// Zeros around a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Padding {
    /// Columns on the left.
    pub left: usize,
    /// Columns on the right.
    pub right: usize,
    /// Rows above.
    pub top: usize,
    /// Rows below.
    pub bottom: usize,
}

impl Padding {
    /// The same on all sides.
    pub const fn even(margin: usize) -> Self {
        Self { left: margin, right: margin, top: margin, bottom: margin }
    }
}

/// How the kernel moves over the picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Geometry {
    /// Pixels from one window to the next: 1 or 2.
    pub stride: usize,
    /// Zeros around the (enlarged) picture.
    pub padding: Padding,
    /// Whether every pixel of the input first becomes four: nearest enlargement, twice in height and width.
    pub enlarged: bool,
}

/// Y (+)= W * enlarge(norm(X)) + b.
#[derive(Debug, Clone)]
pub struct Conv2d {
    /// X, `[b, h, w, in]`.
    pub x: TensorId,
    /// W, `[out, kernel rows, kernel columns, in]`.
    pub weight: TensorId,
    /// b, `[out]`.
    pub bias: TensorId,
    /// Stride, padding, enlargement.
    pub geometry: Geometry,
    /// What X goes through first.
    pub norm: Option<Norm>,
    /// Output rows of one band, at least 1.
    pub band_rows: usize,
    /// Y, `[b, output rows, output columns, out]`, on top of a residual if there is one.
    pub y: Update,
}

/// All extents of one convolution.
#[derive(Debug, Clone, Copy)]
struct Extents {
    pictures: usize,
    channels: usize,
    height: usize,
    width: usize,
    /// 2 where the picture is enlarged, else 1.
    enlargement: usize,
    padded_width: usize,
    kernel_rows: usize,
    kernel_columns: usize,
    out_height: usize,
    out_width: usize,
    outputs: usize,
}

impl Geometry {
    /// The shape of Y.
    pub fn output(&self, x: &Shape, weight: &Shape) -> Result<Shape> {
        let extents = self.extents(x, weight)?;
        Ok([extents.pictures, extents.out_height, extents.out_width, extents.outputs].into())
    }

    /// Bytes that are gathered for one more output row in a band.
    pub fn bytes_a_row(&self, x: &Shape, weight: &Shape) -> Result<usize> {
        let extents = self.extents(x, weight)?;
        Ok(self.stride * extents.gathered_row() * size_of::<f32>())
    }

    fn extents(&self, x: &Shape, weight: &Shape) -> Result<Extents> {
        let wrong = || Error::shape("Conv2d", format!("X has shape {x}, W {weight}; {self:?}"));
        let (&[pictures, height, width, channels], &[outputs, kernel_rows, kernel_columns, inputs]) =
            (x.dims(), weight.dims())
        else {
            return Err(wrong());
        };
        let enlargement = if self.enlarged { 2 } else { 1 };
        let Padding { left, right, top, bottom } = self.padding;
        let padded_width = left + width * enlargement + right;
        let padded_height = top + height * enlargement + bottom;
        let windows = |extent: usize, kernel: usize| Some(extent.checked_sub(kernel)? / self.stride + 1);
        if channels != inputs || channels == 0 || outputs == 0 || !matches!(self.stride, 1 | 2) {
            return Err(wrong());
        }
        Ok(Extents {
            pictures,
            channels,
            height,
            width,
            enlargement,
            padded_width,
            kernel_rows,
            kernel_columns,
            out_height: windows(padded_height, kernel_rows).ok_or_else(wrong)?,
            out_width: windows(padded_width, kernel_columns).ok_or_else(wrong)?,
            outputs,
        })
    }
}

impl Extents {
    /// Elements of one gathered row.
    fn gathered_row(&self) -> usize {
        self.padded_width * self.channels
    }

    /// Elements of one input row.
    fn input_row(&self) -> usize {
        self.width * self.channels
    }

    /// Elements of one output row.
    fn output_row(&self) -> usize {
        self.out_width * self.outputs
    }

    /// Gathered rows that `rows` output rows need.
    fn rows_gathered(&self, rows: usize, stride: usize) -> usize {
        rows.saturating_sub(1) * stride + self.kernel_rows
    }
}

/// Output rows that are computed together.
struct Band<'a> {
    picture: usize,
    first: usize,
    out: &'a mut [f32],
}

impl Contract for Conv2d {
    fn operands(&mut self) -> Vec<Operand<'_>> {
        let mut all: Vec<_> =
            [&mut self.x, &mut self.weight, &mut self.bias].into_iter().map(Operand::Read).collect();
        all.extend(self.norm.iter_mut().flat_map(Norm::operands));
        all.push(Operand::Update(&mut self.y));
        all
    }

    fn exact(&self) -> Vec<TensorId> {
        self.norm.iter().map(|norm| norm.statistics).collect()
    }

    fn check(&self, shapes: &dyn Shapes) -> Result<()> {
        let (x, weight) = (shapes.shape(self.x), shapes.shape(self.weight));
        let output = self.geometry.output(x, weight)?;
        expect("Conv2d", self.band_rows > 0, || "bands have no rows".to_owned())?;
        expect_shape("Conv2d", "Y", &output, shapes.shape(self.y.to))?;
        expect_shape("Conv2d", "bias", &[output.columns()].into(), shapes.shape(self.bias))?;
        self.norm.as_ref().map_or(Ok(()), |norm| norm.check("Conv2d", x, shapes))
    }

    fn flops(&self, shapes: &dyn Shapes) -> u64 {
        let weight = shapes.shape(self.weight);
        2 * (shapes.shape(self.y.to).rows() * weight.elements()) as u64
    }

    fn workspace(&self, shapes: &dyn Shapes, limits: &Limits) -> usize {
        let extents = self.geometry.extents(shapes.shape(self.x), shapes.shape(self.weight));
        extents.map_or(0, |extents| limits.lanes * self.scratch(&extents) * size_of::<f32>())
    }

    fn run_on_cpu(&self, operands: &cpu::Operands<'_>) -> Result<()> {
        let extents = self.geometry.extents(operands.shape(self.x), operands.shape(self.weight))?;
        let out = operands.write(self.y.to);
        let (picture, band) =
            (extents.out_height * extents.output_row(), self.band_rows * extents.output_row());
        let bands = out.chunks_mut(picture).enumerate().flat_map(|(picture, rows)| {
            let bands = rows.chunks_mut(band).enumerate();
            bands.map(move |(band, out)| Band { picture, first: band * self.band_rows, out })
        });
        parallel::over_lanes(bands.collect(), operands.lanes(), |band, scratch| {
            self.one_band(band, &extents, scratch, operands);
        });
        Ok(())
    }

    fn launch(&self, kernel: &'static str, operands: &Operands<'_>, to: &mut Launches) -> Result<()> {
        self.launch_on_card(kernel, operands, to)
    }
}

impl Conv2d {
    /// Elements of scratch memory of one lane.
    fn scratch(&self, extents: &Extents) -> usize {
        let rows = extents.rows_gathered(self.band_rows.min(extents.out_height), self.geometry.stride);
        let norm = self.norm.as_ref().map_or(0, |_| Norm::scratch(extents.channels));
        rows * extents.gathered_row() + norm
    }

    fn one_band(&self, band: Band<'_>, extents: &Extents, scratch: &mut [f32], operands: &cpu::Operands<'_>) {
        let rows = band.out.len() / extents.output_row();
        let gathered = extents.rows_gathered(rows, self.geometry.stride) * extents.gathered_row();
        let (gathered, rest) = scratch.split_at_mut(gathered);
        let norm = self.norm.as_ref().map(|norm| {
            norm.of_picture(band.picture, &mut rest[..Norm::scratch(extents.channels)], operands)
        });
        let pixels = extents.height * extents.input_row();
        let picture = &operands.read(self.x)[band.picture * pixels..][..pixels];
        let first = band.first * self.geometry.stride;
        for (index, row) in gathered.chunks_exact_mut(extents.gathered_row()).enumerate() {
            self.gather(row, first + index, picture, norm, extents);
        }
        self.convolve(band.out, gathered, extents, operands);
    }

    /// Fills one row of the padded picture, counted from the top of the padding.
    fn gather(
        &self,
        row: &mut [f32],
        padded: usize,
        picture: &[f32],
        norm: Option<PictureNorm<'_>>,
        extents: &Extents,
    ) {
        let Padding { left, top, .. } = self.geometry.padding;
        let inside = padded.checked_sub(top).map(|y| y / extents.enlargement);
        let Some(y) = inside.filter(|&y| y < extents.height) else {
            row.fill(0.0);
            return;
        };
        let (before, rest) = row.split_at_mut(left * extents.channels);
        let (inside, after) = rest.split_at_mut(extents.input_row() * extents.enlargement);
        before.fill(0.0);
        after.fill(0.0);
        let (pixels, source) =
            (&mut inside[..extents.input_row()], &picture[y * extents.input_row()..][..extents.input_row()]);
        match norm {
            Some(norm) => norm.apply(pixels, source),
            None => pixels.copy_from_slice(source),
        }
        if self.geometry.enlarged {
            double_pixels(inside, extents.channels);
        }
    }

    /// The product of every output row's windows with the kernel rows, added to bias and residual.
    fn convolve(&self, out: &mut [f32], gathered: &[f32], extents: &Extents, operands: &cpu::Operands<'_>) {
        let (weight, bias) = (operands.read(self.weight), operands.read(self.bias));
        let taps = extents.kernel_columns * extents.channels;
        let weight = Matrix::new(weight, extents.outputs, extents.kernel_rows * taps).transposed();
        for (index, out) in out.chunks_exact_mut(extents.output_row()).enumerate() {
            start_with(out, bias, self.y.accumulates());
            let mut out = MatrixMut::new(out, extents.out_width, extents.outputs);
            for kernel_row in 0..extents.kernel_rows {
                let row = index * self.geometry.stride + kernel_row;
                let row = &gathered[row * extents.gathered_row()..][..extents.gathered_row()];
                let stride = self.geometry.stride * extents.channels;
                let windows = Matrix::overlapping(row, extents.out_width, taps, stride);
                let weight = weight.rows_in(kernel_row * taps..(kernel_row + 1) * taps);
                multiply(&mut out, true, 1.0, windows, weight);
            }
        }
    }
}

/// Every pixel twice: the first half of `row` spread over the whole.
fn double_pixels(row: &mut [f32], channels: usize) {
    for pixel in (0..row.len() / channels / 2).rev() {
        let source = pixel * channels..(pixel + 1) * channels;
        row.copy_within(source.clone(), (2 * pixel + 1) * channels);
        row.copy_within(source, 2 * pixel * channels);
    }
}

/// Sets every pixel to the bias, or adds it to the residual there.
fn start_with(out: &mut [f32], bias: &[f32], accumulate: bool) {
    for pixel in out.chunks_exact_mut(bias.len()) {
        if accumulate {
            pixel.iter_mut().zip(bias).for_each(|(y, b)| *y += b);
        } else {
            pixel.copy_from_slice(bias);
        }
    }
}
