//! What the VAE is made of, attention and linear layers apart: planes and pixels, GroupNorm, convolution.

use crate::doctor::{Case, Recorder};
use crate::error::Result;
use crate::kernels::Shapes;
use crate::kernels::conv2d::{Geometry, Padding};
use crate::kernels::group_norm::Norm;
use crate::ops::convolution::{
    Convolution, channels_first, channels_last, conv2d, group_norm_tokens, group_statistics,
};
use crate::tensor::TensorId;

/// Pictures `[b, h, w, c]`: one pixel, odd extents, channels that are no multiple of eight, a strip of channels more
/// than a block has threads, and more pixels than a band.
const SMALL: [[usize; 4]; 7] = [
    [1, 1, 1, 1],
    [2, 3, 5, 3],
    [1, 7, 9, 16],
    [2, 8, 8, 24],
    [1, 2, 3, 300],
    [2, 13, 11, 36],
    [1, 40, 33, 64],
];

/// The pictures of cases of f32: aligned channels and others.
const EXACT: [[usize; 4]; 3] = [[2, 3, 5, 3], [1, 7, 9, 16], [2, 13, 11, 36]];

/// A picture of normals, rounded to bf16 unless activations are kept exact.
fn picture(recorder: &mut Recorder, name: &str, shape: [usize; 4]) -> TensorId {
    let exact = recorder.program.exact;
    recorder.either(name, shape, exact)
}

/// Planes to pixels and back.
pub fn channels_cases() -> Vec<Case> {
    let record = |[b, h, w, c]: [usize; 4], taken: usize| {
        move |recorder: &mut Recorder| {
            let planes = picture(recorder, "planes", [b, c, h, w]);
            let program = &mut recorder.program;
            let pixels = channels_last(program, "pixels", planes)?;
            let all = channels_first(program, "all", pixels, 0..c, Some((-1.0, 1.0)))?;
            let some = channels_first(program, "some", pixels, c - taken..c, None)?;
            [pixels, all, some].into_iter().for_each(|id| recorder.output(id));
            Ok(())
        }
    };
    let case = |shape: [usize; 4]| {
        let taken = shape[3].div_ceil(2);
        Case::small("channels", format!("{shape:?}"), record(shape, taken))
    };
    let small = SMALL.map(case).into_iter().chain(EXACT.map(|shape| case(shape).exactly()));
    let small = small.map(|case| case.within(0.0));
    let real = Case::real("channels", "latents.1024", record([1, 128, 128, 32], 16)).within(0.0);
    small.chain([real]).collect()
}

/// A norm of `x`, its statistics among the outputs, with SiLU or without.
fn norm(recorder: &mut Recorder, x: TensorId, groups: usize, silu: bool) -> Result<Norm> {
    let channels = recorder.program.shape(x).columns();
    let weight = recorder.weight("norm weight", [channels], 1.0);
    let bias = recorder.weight("norm bias", [channels], 0.2);
    let statistics = group_statistics(&mut recorder.program, "statistics", x, groups, 1e-6)?;
    Ok(Norm { statistics, weight, bias, silu })
}

/// Statistics of pictures far from zero, alone.
pub fn group_statistics_cases() -> Vec<Case> {
    let case = |shape: [usize; 4], groups: usize, real: Option<&str>| {
        let record = move |recorder: &mut Recorder| {
            let x = match shape[1] {
                ..512 => recorder.input("x", shape, |n| 20.0 + n),
                _ => recorder.repeated("x", shape),
            };
            let statistics = group_statistics(&mut recorder.program, "statistics", x, groups, 1e-6)?;
            recorder.output(statistics);
            Ok(())
        };
        let name = |name: Option<&str>| name.map_or(format!("{shape:?} in {groups}"), str::to_owned);
        match real {
            None => Case::small("group_statistics", name(None), record).within(1e-5),
            Some(_) => Case::real("group_statistics", name(real), record).within(1e-5),
        }
    };
    let groups = [1, 3, 4, 8, 12, 9, 32];
    let small = SMALL.into_iter().zip(groups).map(|(shape, groups)| case(shape, groups, None));
    let exact = EXACT.into_iter().zip([1, 4, 12]);
    let exact = exact.map(|(shape, groups)| case(shape, groups, None).exactly().within(1e-5));
    small.chain(exact).chain([case([1, 1024, 1024, 128], 32, Some("1024.c128"))]).collect()
}

/// GroupNorm by known statistics.
pub fn group_norm_cases() -> Vec<Case> {
    let record = |shape: [usize; 4], groups: usize, silu: bool| {
        move |recorder: &mut Recorder| {
            let x = recorder.input("x", shape, |n| 1.0 + 2.0 * n);
            let norm = norm(recorder, x, groups, silu)?;
            let y = group_norm_tokens(&mut recorder.program, "y", x, norm)?;
            recorder.output(y);
            Ok(())
        }
    };
    let groups = [1, 3, 4, 8, 12, 9, 32];
    let case = |shape: [usize; 4], groups: usize, silu: bool| {
        let name = format!("{shape:?} in {groups}{}", if silu { ", silu" } else { "" });
        Case::small("group_norm", name, record(shape, groups, silu))
    };
    let small = SMALL
        .into_iter()
        .zip(groups)
        .flat_map(|(shape, groups)| [false, true].map(|silu| case(shape, groups, silu)));
    let exact = [case([2, 3, 5, 3], 3, false), case([1, 7, 9, 16], 4, true)].map(Case::exactly);
    let real = Case::real("group_norm", "middle.1024", record([1, 128, 128, 512], 32, false));
    small.chain(exact).chain([real]).collect()
}

/// A convolution: its picture `[b, h, w, c]`, output channels, extents of its kernel, how it moves, the groups of the
/// norm in front of it (with SiLU), and whether it adds to a residual.
#[derive(Debug, Clone, Copy)]
struct Conv {
    x: [usize; 4],
    outputs: usize,
    kernel: [usize; 2],
    geometry: Geometry,
    groups: Option<usize>,
    residual: bool,
}

const PIXEL: Geometry = Geometry { stride: 1, padding: Padding::even(0), enlarged: false };
const SAME: Geometry = Geometry { stride: 1, padding: Padding::even(1), enlarged: false };
const HALVE: Geometry =
    Geometry { stride: 2, padding: Padding { left: 0, right: 1, top: 0, bottom: 1 }, enlarged: false };
const ENLARGE: Geometry = Geometry { stride: 1, padding: Padding::even(1), enlarged: true };
const LOPSIDED: Geometry =
    Geometry { stride: 1, padding: Padding { left: 2, right: 0, top: 0, bottom: 3 }, enlarged: false };

impl Conv {
    const fn new(x: [usize; 4], outputs: usize, kernel: [usize; 2], geometry: Geometry) -> Self {
        Self { x, outputs, kernel, geometry, groups: None, residual: false }
    }

    const fn three(x: [usize; 4], outputs: usize, geometry: Geometry) -> Self {
        Self::new(x, outputs, [3, 3], geometry)
    }

    const fn normed(self, groups: usize) -> Self {
        Self { groups: Some(groups), ..self }
    }

    const fn added(self) -> Self {
        Self { residual: true, ..self }
    }

    fn record(self, recorder: &mut Recorder) -> Result<()> {
        let Self { x: shape, outputs, kernel: [rows, columns], geometry, groups, residual } = self;
        let inputs = shape[3];
        let x = match shape[1] {
            ..512 => picture(recorder, "x", shape),
            _ => recorder.repeated("x", shape),
        };
        let deviation = 1.0 / ((rows * columns * inputs) as f32).sqrt();
        let weight = recorder.weight("weight", [outputs, rows, columns, inputs], deviation);
        let bias = recorder.weight("bias", [outputs], 0.5);
        let norm = groups.map(|groups| norm(recorder, x, groups, true)).transpose()?;
        let out = geometry.output(recorder.program.shape(x), recorder.program.shape(weight))?;
        let residual = residual.then(|| recorder.normal("residual", out, 1.0));
        let layer = Convolution { weight, bias, geometry, norm, band_rows: 16 };
        let y = conv2d(&mut recorder.program, "y", x, layer, residual)?;
        recorder.output(y);
        Ok(())
    }
}

/// Convolutions of every kind, around the edges of tiles.
pub fn conv2d_cases() -> Vec<Case> {
    let small = [
        Conv::new([1, 1, 1, 1], 1, [1, 1], PIXEL),
        Conv::new([2, 5, 7, 24], 40, [1, 1], PIXEL),
        Conv::new([1, 6, 6, 3], 5, [2, 4], LOPSIDED),
        Conv::three([1, 3, 3, 4], 6, SAME),
        Conv::three([1, 9, 11, 3], 128, SAME),
        Conv::three([1, 8, 8, 16], 512, SAME),
        Conv::three([2, 7, 5, 33], 31, SAME).normed(3),
        Conv::three([1, 9, 15, 20], 64, SAME).normed(5).added(),
        Conv::three([1, 8, 17, 64], 3, SAME).normed(32),
        Conv::three([2, 9, 8, 32], 65, HALVE),
        Conv::three([1, 11, 13, 40], 16, HALVE).normed(8),
        Conv::three([1, 5, 6, 32], 32, ENLARGE),
        Conv::three([2, 3, 4, 12], 9, ENLARGE).normed(4).added(),
        // Enough pixels and channels for the larger tiles.
        Conv::three([1, 24, 23, 32], 128, SAME),
        Conv::three([1, 24, 23, 24], 120, SAME).normed(8),
        Conv::three([1, 17, 33, 40], 130, SAME).added(),
        Conv::three([1, 17, 33, 32], 256, SAME).normed(32).added(),
    ];
    let exact = [
        Conv::new([2, 5, 7, 24], 40, [1, 1], PIXEL),
        Conv::new([1, 6, 6, 3], 5, [2, 4], LOPSIDED),
        Conv::three([1, 9, 15, 20], 64, SAME).normed(5).added(),
        Conv::three([1, 12, 13, 40], 136, SAME).normed(8).added(),
        Conv::three([2, 9, 8, 32], 65, HALVE),
        Conv::three([2, 3, 4, 12], 9, ENLARGE).added(),
    ];
    let real = [
        ("encoder.conv_in.1024", Conv::three([1, 1024, 1024, 3], 128, SAME)),
        ("encoder.block0.1024", Conv::three([1, 1024, 1024, 128], 128, SAME).normed(32).added()),
        ("encoder.down0.1024", Conv::three([1, 1024, 1024, 128], 128, HALVE)),
        ("encoder.middle.1024", Conv::three([1, 128, 128, 512], 512, SAME).normed(32).added()),
        ("decoder.conv_in.1024", Conv::three([1, 128, 128, 16], 512, SAME)),
        ("decoder.up3.1024", Conv::three([1, 128, 128, 512], 512, ENLARGE)),
        ("decoder.shortcut.1024", Conv::new([1, 512, 512, 512], 256, [1, 1], PIXEL)),
        ("decoder.conv_out.1024", Conv::three([1, 1024, 1024, 128], 3, SAME).normed(32)),
    ];
    let case = |conv: Conv| {
        let Conv { x, outputs, kernel, geometry, groups, residual } = conv;
        let Geometry { stride, enlarged, .. } = geometry;
        let mut name = format!("{x:?} to {outputs} by {kernel:?}, stride {stride}");
        name.push_str(if enlarged { ", enlarged" } else { "" });
        name.push_str(&groups.map_or(String::new(), |groups| format!(", norm of {groups}")));
        name.push_str(if residual { ", added" } else { "" });
        Case::small("conv2d", name, move |recorder| conv.record(recorder))
    };
    let real = real
        .into_iter()
        .map(|(name, conv)| Case::real("conv2d", name, move |recorder| conv.record(recorder)));
    let small = small.map(case).into_iter().chain(exact.map(case).map(Case::exactly));
    small.chain(real).collect()
}
