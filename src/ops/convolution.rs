//! Convolutions of channels-last pictures, with the GroupNorm in front of them. Forward only: no adapter lies
//! in or below them.

use crate::autograd::Program;
use crate::error::Result;
use crate::kernels::channels::{ChannelsFirst, ChannelsLast, pixels_shape};
use crate::kernels::conv2d::{Conv2d, Geometry};
use crate::kernels::group_norm::{GroupNorm, GroupStatistics, Norm};
use crate::kernels::{Shapes, Update};
use crate::tensor::TensorId;
use std::ops::Range;

/// A convolution to record.
#[derive(Debug, Clone)]
pub struct Convolution {
    /// `[out, kernel rows, kernel columns, in]`.
    pub weight: TensorId,
    /// `[out]`.
    pub bias: TensorId,
    /// Stride, padding, enlargement.
    pub geometry: Geometry,
    /// What the picture goes through first.
    pub norm: Option<Norm>,
    /// Output rows of one band.
    pub band_rows: usize,
}

/// Y `[b, h', w', out]` of X `[b, h, w, in]`, added to `residual` if there is one.
pub fn conv2d(
    program: &mut Program,
    name: &str,
    x: TensorId,
    layer: Convolution,
    residual: Option<TensorId>,
) -> Result<TensorId> {
    let shape = layer.geometry.output(program.shape(x), program.shape(layer.weight))?;
    let y = Update { from: residual, to: program.activation(name, shape) };
    let Convolution { weight, bias, geometry, norm, band_rows } = layer;
    program.launch(Conv2d { x, weight, bias, geometry, norm, band_rows, y })?;
    Ok(y.to)
}

/// Mean and reciprocal deviation `[b, groups, 2]` of X `[b, h, w, c]`.
pub fn group_statistics(
    program: &mut Program,
    name: &str,
    x: TensorId,
    groups: usize,
    epsilon: f32,
) -> Result<TensorId> {
    let pictures = program.shape(x).dims().first().copied().unwrap_or(1);
    let statistics = program.activation(name, [pictures, groups, 2]);
    program.launch(GroupStatistics { x, epsilon, statistics })?;
    Ok(statistics)
}

/// GroupNorm of X `[b, h, w, c]` as tokens `[b, h * w, c]`.
pub fn group_norm_tokens(program: &mut Program, name: &str, x: TensorId, norm: Norm) -> Result<TensorId> {
    let shape = program.shape(x);
    let pictures = shape.dims().first().copied().unwrap_or(1).max(1);
    let y = program.activation(name, [pictures, shape.rows() / pictures, shape.columns()]);
    program.launch(GroupNorm { x, norm, y })?;
    Ok(y)
}

/// Planes `[b, c, h, w]` as pixels `[b, h, w, c]`.
pub fn channels_last(program: &mut Program, name: &str, planes: TensorId) -> Result<TensorId> {
    let pixels = program.activation(name, pixels_shape(program.shape(planes)));
    program.launch(ChannelsLast { planes, pixels })?;
    Ok(pixels)
}

/// Some channels of pixels `[b, h, w, c]` as planes `[b, channels, h, w]`, clamped if asked.
pub fn channels_first(
    program: &mut Program,
    name: &str,
    pixels: TensorId,
    channels: Range<usize>,
    clamp: Option<(f32, f32)>,
) -> Result<TensorId> {
    let mut dims = program.shape(pixels).dims().to_vec();
    dims.pop();
    dims.insert(1.min(dims.len()), channels.len());
    let planes = program.activation(name, dims);
    program.launch(ChannelsFirst { pixels, first: channels.start, clamp, planes })?;
    Ok(planes)
}

#[cfg(test)]
mod tests;
