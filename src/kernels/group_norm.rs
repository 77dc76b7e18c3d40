//! GroupNorm of channels-last pictures: statistics over all pixels of a group of channels, then an affine map
//! for each channel, and SiLU where one follows.
//!
//! The statistics are a kernel of their own, so that whoever reads the picture next can normalise it on the way
//! ([`crate::kernels::conv2d`]), a band at a time, by numbers of the whole.

mod cuda;

use crate::device::cuda::{Architecture, Launches, Operands};
use crate::device::{Limits, cpu};
use crate::error::Result;
use crate::kernels::activation::Activation;
use crate::kernels::contract::{Contract, Operand, Shapes, expect, expect_shape};
use crate::kernels::parallel;
use crate::tensor::{Shape, TensorId};
use multiversion::multiversion;
use rayon::prelude::*;

/// Mean and reciprocal deviation of every group of channels, over all pixels of a picture.
#[derive(Debug, Clone)]
pub struct GroupStatistics {
    /// `[b, h, w, c]`.
    pub x: TensorId,
    /// Added to the variance.
    pub epsilon: f32,
    /// `[b, groups, 2]`: mean, 1 / sqrt(variance + epsilon).
    pub statistics: TensorId,
}

/// What normalises a picture whose statistics are known.
#[derive(Debug, Clone)]
pub struct Norm {
    /// `[b, groups, 2]`.
    pub statistics: TensorId,
    /// `[c]`.
    pub weight: TensorId,
    /// `[c]`.
    pub bias: TensorId,
    /// Whether SiLU follows.
    pub silu: bool,
}

/// Y = GroupNorm(X).
#[derive(Debug, Clone)]
pub struct GroupNorm {
    /// `[b, h, w, c]`.
    pub x: TensorId,
    /// The norm.
    pub norm: Norm,
    /// As `x`, or `[b, h * w, c]`: tokens for attention.
    pub y: TensorId,
}

impl Contract for GroupStatistics {
    fn operands(&mut self) -> Vec<Operand<'_>> {
        vec![Operand::Read(&mut self.x), Operand::Write(&mut self.statistics)]
    }

    fn exact(&self) -> Vec<TensorId> {
        vec![self.statistics]
    }

    fn check(&self, shapes: &dyn Shapes) -> Result<()> {
        check_statistics("GroupStatistics", shapes.shape(self.x), shapes.shape(self.statistics))
    }

    fn run_on_cpu(&self, operands: &cpu::Operands<'_>) -> Result<()> {
        let (shape, groups) = (operands.shape(self.x), operands.shape(self.statistics).dims()[1]);
        let channels = shape.columns();
        let picture = shape.elements() / shape.dims()[0];
        let pictures = operands.read(self.x).chunks_exact(picture);
        for (x, statistics) in pictures.zip(operands.write(self.statistics).chunks_exact_mut(2 * groups)) {
            // Parts of fixed size, added in order: the same sums for any number of threads.
            let part = parallel::rows_a_part(channels) * channels;
            let parts: Vec<Vec<[f64; 2]>> = x.par_chunks(part).map(|x| channel_sums(x, channels)).collect();
            let width = channels / groups;
            for (group, statistics) in statistics.chunks_exact_mut(2).enumerate() {
                let of_group = parts.iter().flat_map(|sums| &sums[group * width..][..width]);
                let [sum, squares] = of_group.fold([0.0; 2], |a, b| [a[0] + b[0], a[1] + b[1]]);
                let count = (picture / groups) as f64;
                let mean = sum / count;
                let variance = (squares / count - mean * mean).max(0.0);
                statistics[0] = mean as f32;
                statistics[1] = (1.0 / (variance + f64::from(self.epsilon)).sqrt()) as f32;
            }
        }
        Ok(())
    }

    fn cuda_workspace(&self, shapes: &dyn Shapes, _architecture: &Architecture) -> usize {
        self.workspace_on_card(shapes)
    }

    fn launch(&self, kernel: &'static str, operands: &Operands<'_>, to: &mut Launches) -> Result<()> {
        self.launch_on_card(kernel, operands, to)
    }
}

/// The sum and the sum of squares of every channel of some pixels.
fn channel_sums(x: &[f32], channels: usize) -> Vec<[f64; 2]> {
    let mut sums = vec![0.0; channels];
    let mut squares = vec![0.0; channels];
    add_pixels(&mut sums, &mut squares, x);
    sums.into_iter().zip(squares).map(|(sum, squares)| [sum, squares]).collect()
}

#[multiversion(targets("x86_64+avx512f+avx512vl+avx512bw+avx512dq", "x86_64+avx2"))]
fn add_pixels(sums: &mut [f64], squares: &mut [f64], x: &[f32]) {
    for pixel in x.chunks_exact(sums.len()) {
        for ((sum, square), &x) in sums.iter_mut().zip(squares.iter_mut()).zip(pixel) {
            let x = f64::from(x);
            *sum += x;
            *square += x * x;
        }
    }
}

fn check_statistics(kernel: &str, x: &Shape, statistics: &Shape) -> Result<()> {
    let fits = match (x.dims(), statistics.dims()) {
        ([b, h, w, c], [b2, groups, 2]) => b == b2 && h * w * c * groups > 0 && c % groups == 0,
        _ => false,
    };
    expect(kernel, fits, || format!("statistics {statistics} are not those of groups of the channels of {x}"))
}

impl Norm {
    /// Its own operands.
    pub fn operands(&mut self) -> Vec<Operand<'_>> {
        [&mut self.statistics, &mut self.weight, &mut self.bias].into_iter().map(Operand::Read).collect()
    }

    /// Whether it fits a picture of shape `x`.
    pub fn check(&self, kernel: &str, x: &Shape, shapes: &dyn Shapes) -> Result<()> {
        check_statistics(kernel, x, shapes.shape(self.statistics))?;
        let channels = [x.columns()].into();
        expect_shape(kernel, "norm weight", &channels, shapes.shape(self.weight))?;
        expect_shape(kernel, "norm bias", &channels, shapes.shape(self.bias))
    }

    /// Elements of scratch memory that [`Norm::of_picture`] needs.
    pub fn scratch(channels: usize) -> usize {
        3 * channels
    }

    /// The norm of picture `index`, channel by channel, laid out in `scratch`.
    pub fn of_picture<'s>(
        &self,
        index: usize,
        scratch: &'s mut [f32],
        operands: &cpu::Operands<'_>,
    ) -> PictureNorm<'s> {
        let (weight, bias) = (operands.read(self.weight), operands.read(self.bias));
        let channels = weight.len();
        let groups = operands.shape(self.statistics).dims()[1];
        let statistics = &operands.read(self.statistics)[index * 2 * groups..][..2 * groups];
        let (means, rest) = scratch.split_at_mut(channels);
        let (scales, shifts) = rest.split_at_mut(channels);
        for channel in 0..channels {
            let group = channel / (channels / groups);
            means[channel] = statistics[2 * group];
            scales[channel] = statistics[2 * group + 1] * weight[channel];
        }
        shifts.copy_from_slice(bias);
        PictureNorm { means, scales, shifts, silu: self.silu }
    }
}

/// The norm of one picture.
#[derive(Debug, Clone, Copy)]
pub struct PictureNorm<'s> {
    means: &'s [f32],
    scales: &'s [f32],
    shifts: &'s [f32],
    silu: bool,
}

impl PictureNorm<'_> {
    /// Normalises the pixels `x` into `y`.
    pub fn apply(&self, y: &mut [f32], x: &[f32]) {
        normalise(y, x, self.means, self.scales, self.shifts);
        if self.silu {
            silu(y);
        }
    }
}

#[multiversion(targets("x86_64+avx512f+avx512vl+avx512bw+avx512dq", "x86_64+avx2"))]
fn normalise(y: &mut [f32], x: &[f32], means: &[f32], scales: &[f32], shifts: &[f32]) {
    let channels = means.len();
    let (scales, shifts) = (&scales[..channels], &shifts[..channels]);
    for (y, x) in y.chunks_exact_mut(channels).zip(x.chunks_exact(channels)) {
        for channel in 0..channels {
            y[channel] = (x[channel] - means[channel]) * scales[channel] + shifts[channel];
        }
    }
}

#[multiversion(targets("x86_64+avx512f+avx512vl+avx512bw+avx512dq", "x86_64+avx2"))]
fn silu(values: &mut [f32]) {
    for value in values {
        *value = Activation::Silu.value(*value);
    }
}

impl Contract for GroupNorm {
    fn operands(&mut self) -> Vec<Operand<'_>> {
        let mut all = vec![Operand::Read(&mut self.x)];
        all.extend(self.norm.operands());
        all.push(Operand::Write(&mut self.y));
        all
    }

    fn exact(&self) -> Vec<TensorId> {
        vec![self.norm.statistics]
    }

    fn check(&self, shapes: &dyn Shapes) -> Result<()> {
        let (x, y) = (shapes.shape(self.x), shapes.shape(self.y));
        self.norm.check("GroupNorm", x, shapes)?;
        let alike = (x.rows(), x.columns()) == (y.rows(), y.columns());
        expect("GroupNorm", alike, || format!("x has shape {x}, y {y}"))
    }

    fn workspace(&self, shapes: &dyn Shapes, limits: &Limits) -> usize {
        limits.lanes * Norm::scratch(shapes.shape(self.x).columns()) * size_of::<f32>()
    }

    fn run_on_cpu(&self, operands: &cpu::Operands<'_>) -> Result<()> {
        let shape = operands.shape(self.x);
        let channels = shape.columns();
        let (picture, part) =
            (shape.elements() / shape.dims()[0], parallel::rows_a_part(channels) * channels);
        let (x, y) = (operands.read(self.x).chunks(picture), operands.write(self.y).chunks_mut(picture));
        let tasks = x.zip(y).enumerate().flat_map(|(index, (x, y))| {
            x.chunks(part).zip(y.chunks_mut(part)).map(move |(x, y)| (index, x, y))
        });
        parallel::over_lanes(tasks.collect(), operands.lanes(), |(index, x, y), scratch| {
            self.norm.of_picture(index, &mut scratch[..Norm::scratch(channels)], operands).apply(y, x);
        });
        Ok(())
    }

    fn launch(&self, kernel: &'static str, operands: &Operands<'_>, to: &mut Launches) -> Result<()> {
        self.launch_on_card(kernel, operands, to)
    }
}
