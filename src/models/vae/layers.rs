//! What encoder and decoder are made of: convolutions, resnets and the attention in the middle.

use super::bands::band_rows;
use crate::autograd::Program;
use crate::error::{Error, Result};
use crate::kernels::Shapes;
use crate::kernels::attention::{Heads, Mask, Stream};
use crate::kernels::conv2d::{Geometry, Padding};
use crate::kernels::group_norm::Norm;
use crate::kernels::linear::Base;
use crate::ops::activation::add;
use crate::ops::attention::attention;
use crate::ops::convolution::{Convolution, conv2d, group_norm_tokens, group_statistics};
use crate::ops::linear::{Layer, linear};
use crate::tensor::{Shape, TensorId};
use crate::weights::WeightMap;

/// Added to the variance in every norm.
const EPSILON: f32 = 1e-6;

/// 3 x 3 around every pixel.
pub const SAME: Kernel =
    Kernel { side: 3, geometry: Geometry { stride: 1, padding: Padding::even(1), enlarged: false } };

/// 3 x 3 around every pixel of the picture enlarged twice.
pub const ENLARGE: Kernel = Kernel { geometry: Geometry { enlarged: true, ..SAME.geometry }, ..SAME };

/// 3 x 3 from every other pixel on; only the right and the bottom are padded.
pub const HALVE: Kernel = Kernel {
    side: 3,
    geometry: Geometry {
        stride: 2,
        padding: Padding { left: 0, right: 1, top: 0, bottom: 1 },
        enlarged: false,
    },
};

/// Every pixel by itself.
const PIXEL: Kernel =
    Kernel { side: 1, geometry: Geometry { stride: 1, padding: Padding::even(0), enlarged: false } };

/// One of the convolutions that a VAE is made of.
#[derive(Debug, Clone, Copy)]
pub struct Kernel {
    side: usize,
    geometry: Geometry,
}

/// A convolution to record.
#[derive(Debug, Clone, Copy)]
pub struct Conv<'n> {
    /// The tensor that it makes.
    pub name: &'n str,
    /// What its weights are called, without `.weight`.
    pub weights: &'n str,
    /// Its kind.
    pub kernel: Kernel,
    /// Channels that it gives.
    pub channels: usize,
    /// The norm (with SiLU) in front of it, by its weights.
    pub norm: Option<&'n str>,
    /// What it is added to.
    pub residual: Option<TensorId>,
}

impl<'n> Conv<'n> {
    /// One whose tensor is called as its weights are, without norm or residual.
    pub fn new(weights: &'n str, kernel: Kernel, channels: usize) -> Self {
        Self { name: weights, weights, kernel, channels, norm: None, residual: None }
    }
}

/// Records the layers of a VAE, checking every weight's shape in its file.
#[derive(Debug)]
pub struct Recorder<'a> {
    /// What is recorded.
    pub program: Program,
    weights: &'a WeightMap,
    groups: usize,
    band_rows: usize,
}

impl<'a> Recorder<'a> {
    /// A recorder of an empty program. `band_rows` 0 leaves the choice to [`band_rows`].
    pub fn new(weights: &'a WeightMap, groups: usize, band_rows: usize) -> Self {
        let mut program = Program::new();
        program.keep_exact();
        Self { program, weights, groups, band_rows }
    }

    /// A convolution.
    pub fn conv(&mut self, x: TensorId, conv: Conv<'_>) -> Result<TensorId> {
        let Kernel { side, geometry } = conv.kernel;
        let inputs = self.channels(x);
        let weight = self.weight(&format!("{}.weight", conv.weights), [conv.channels, side, side, inputs])?;
        let bias = self.weight(&format!("{}.bias", conv.weights), [conv.channels])?;
        let norm = conv.norm.map(|norm| self.norm(norm, x, true)).transpose()?;
        let (from, kernel) = (self.program.shape(x), self.program.shape(weight));
        let rows = geometry.output(from, kernel)?.dims()[1];
        let band_rows = band_rows(self.band_rows, rows, geometry.bytes_a_row(from, kernel)?);
        let layer = Convolution { weight, bias, geometry, norm, band_rows };
        conv2d(&mut self.program, conv.name, x, layer, conv.residual)
    }

    /// x' + conv2(SiLU(norm2(conv1(SiLU(norm1(x)))))); x' is x, or its shortcut where the channels change.
    pub fn resnet(&mut self, name: &str, weights: &str, x: TensorId, channels: usize) -> Result<TensorId> {
        let part = |part: &str| format!("{weights}.{part}");
        let (conv1, conv2) = (part("conv1"), part("conv2"));
        let first = Conv { norm: Some(&part("norm1")), ..Conv::new(&conv1, SAME, channels) };
        let hidden = self.conv(x, first)?;
        let shortcut = if self.channels(x) == channels {
            x
        } else {
            self.conv(x, Conv::new(&part("nin_shortcut"), PIXEL, channels))?
        };
        let second = Conv { name, norm: Some(&part("norm2")), ..Conv::new(&conv2, SAME, channels) };
        self.conv(hidden, Conv { residual: Some(shortcut), ..second })
    }

    /// The middle of `side` (`encoder` or `decoder`): resnet, attention, resnet.
    pub fn middle(&mut self, side: &str, x: TensorId) -> Result<TensorId> {
        let channels = self.channels(x);
        let (first, second) = (format!("{side}.mid.block_1"), format!("{side}.mid.block_2"));
        let x = self.resnet(&first, &first, x, channels)?;
        let x = self.attention(&format!("{side}.mid.attn_1"), x)?;
        self.resnet(&format!("{side}.mid_block"), &second, x, channels)
    }

    /// x + the attention, in one head, of every pixel to every pixel of the normalised picture.
    fn attention(&mut self, name: &str, x: TensorId) -> Result<TensorId> {
        let channels = self.channels(x);
        let norm = self.norm(&format!("{name}.norm"), x, false)?;
        let tokens = group_norm_tokens(&mut self.program, &format!("{name}.tokens"), x, norm)?;
        let qkv = self.linear(&format!("{name}.qkv"), tokens, 3 * channels)?;
        let stream = Stream { qkv, q: Some(0), k: channels, v: 2 * channels };
        let heads = Heads { count: 1, dim: channels, scale: 1.0 / (channels as f32).sqrt() };
        let out = attention(&mut self.program, name, vec![stream], heads, Mask::None)?;
        let projected = self.linear(&format!("{name}.proj_out"), out[0], channels)?;
        add(&mut self.program, name, x, projected)
    }

    fn linear(&mut self, name: &str, x: TensorId, outputs: usize) -> Result<TensorId> {
        let weight = self.weight(&format!("{name}.weight"), [outputs, self.channels(x)])?;
        let bias = Some(self.weight(&format!("{name}.bias"), [outputs])?);
        let base = Base { weight, rows: 0..outputs, bias };
        linear(&mut self.program, name, x, &Layer { base, adapted: Vec::new(), dropout: None })
    }

    /// The norm of x with the weights `name`.
    fn norm(&mut self, name: &str, x: TensorId, silu: bool) -> Result<Norm> {
        let channels = self.channels(x);
        let weight = format!("{name}.weight");
        if !channels.is_multiple_of(self.groups) {
            let cause = format!("{channels} channels do not fall into {} groups", self.groups);
            return Err(Error::tensor(self.weights.path(), &weight, cause)
                .hint("the VAE's norm_num_groups does not fit its weights"));
        }
        let weight = self.weight(&weight, [channels])?;
        let bias = self.weight(&format!("{name}.bias"), [channels])?;
        let statistics = format!("{name}.statistics");
        let statistics = group_statistics(&mut self.program, &statistics, x, self.groups, EPSILON)?;
        Ok(Norm { statistics, weight, bias, silu })
    }

    /// A resident weight of the given shape.
    fn weight<const N: usize>(&mut self, name: &str, dims: [usize; N]) -> Result<TensorId> {
        let shape = Shape::from(dims);
        self.weights.expect_shape(name, &shape)?;
        Ok(self.program.weight(name, &shape))
    }

    fn channels(&self, x: TensorId) -> usize {
        self.program.shape(x).columns()
    }
}
