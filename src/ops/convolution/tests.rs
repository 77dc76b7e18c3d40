use super::*;
use crate::autograd::{Engine, Persistent};
use crate::device::cpu::Cpu;
use crate::error::ErrorKind;
use crate::kernels::conv2d::Padding;
use crate::random::{Purpose, Stream};
use crate::tensor::Shape;
use proptest::prelude::*;

const EPSILON: f32 = 1e-6;

/// A program with the values of its inputs.
#[derive(Default)]
struct Trial {
    program: Program,
    inputs: Vec<(TensorId, Vec<f32>)>,
}

impl Trial {
    fn input(&mut self, dims: impl Into<Shape>, values: &[f32]) -> TensorId {
        let id = self.program.input(format!("input {}", self.inputs.len()), dims);
        self.inputs.push((id, values.to_vec()));
        id
    }

    fn run(mut self, output: TensorId) -> Vec<f32> {
        self.program.output(output);
        let mut engine = Engine::new(Cpu::new(), 0, Persistent::new(1)).unwrap();
        let planned = engine.plan(self.program).unwrap();
        engine.reserve(&planned).unwrap();
        for (id, values) in &self.inputs {
            engine.write(&planned, *id, values).unwrap();
        }
        engine.run(&planned).unwrap();
        engine.read(&planned, output).unwrap()
    }
}

fn normals(lane: u32, elements: usize) -> Vec<f32> {
    let mut values = vec![0.0; elements];
    Stream::new(1, Purpose::Noise, lane, 0, 0).fill_normal(&mut values);
    values
}

fn assert_close(found: &[f32], expected: &[f64]) {
    assert_eq!(found.len(), expected.len());
    for (index, (&found, &expected)) in found.iter().zip(expected).enumerate() {
        let difference = (f64::from(found) - expected).abs();
        assert!(difference < 5e-5 * (1.0 + expected.abs()), "{index}: {found}, not {expected}");
    }
}

/// GroupNorm of pixels `[b, pixels, c]` in f64.
fn group_norm(x: &[f64], pixels: usize, groups: usize, weight: &[f32], bias: &[f32], silu: bool) -> Vec<f64> {
    let channels = weight.len();
    let width = channels / groups;
    let mut y = x.to_vec();
    for (x, y) in x.chunks(pixels * channels).zip(y.chunks_mut(pixels * channels)) {
        for group in 0..groups {
            let within = |index: &usize| index % channels / width == group;
            let values: Vec<f64> = (0..x.len()).filter(within).map(|index| x[index]).collect();
            let mean = values.iter().sum::<f64>() / values.len() as f64;
            let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / values.len() as f64;
            for index in (0..x.len()).filter(within) {
                let (scale, shift) = (f64::from(weight[index % channels]), f64::from(bias[index % channels]));
                let value = (x[index] - mean) / (variance + f64::from(EPSILON)).sqrt() * scale + shift;
                y[index] = if silu { value / (1.0 + (-value).exp()) } else { value };
            }
        }
    }
    y
}

#[derive(Debug, Clone)]
struct Case {
    x: [usize; 4],
    kernel: [usize; 2],
    outputs: usize,
    geometry: Geometry,
    /// Groups, and whether SiLU follows.
    norm: Option<(usize, bool)>,
    residual: bool,
    band_rows: usize,
}

impl Case {
    fn weight(&self) -> Shape {
        [self.outputs, self.kernel[0], self.kernel[1], self.x[3]].into()
    }

    fn output(&self) -> Result<Shape> {
        self.geometry.output(&self.x.into(), &self.weight())
    }

    /// Input, weight, bias, residual, norm weight, norm bias.
    fn values(&self) -> [Vec<f32>; 6] {
        let x = Shape::from(self.x).elements();
        let y = self.output().unwrap().elements();
        let sizes = [x, self.weight().elements(), self.outputs, y, self.x[3], self.x[3]];
        let mut lane = 0;
        sizes.map(|elements| {
            lane += 1;
            normals(lane, elements)
        })
    }

    fn run(&self) -> Vec<f32> {
        let [x, weight, bias, residual, norm_weight, norm_bias] = &self.values();
        let mut trial = Trial::default();
        let x = trial.input(self.x, x);
        let weight = trial.input(self.weight(), weight);
        let bias = trial.input([self.outputs], bias);
        let residual = self.residual.then(|| trial.input(self.output().unwrap(), residual));
        let norm = self.norm.map(|(groups, silu)| {
            let weight = trial.input([self.x[3]], norm_weight);
            let bias = trial.input([self.x[3]], norm_bias);
            let statistics = group_statistics(&mut trial.program, "statistics", x, groups, EPSILON).unwrap();
            Norm { statistics, weight, bias, silu }
        });
        let layer = Convolution { weight, bias, geometry: self.geometry, norm, band_rows: self.band_rows };
        let y = conv2d(&mut trial.program, "y", x, layer, residual).unwrap();
        trial.run(y)
    }

    /// The definition of a convolution, in f64.
    fn expected(&self) -> Vec<f64> {
        let [x, weight, bias, residual, norm_weight, norm_bias] = self.values();
        let [_, height, width, channels] = self.x;
        let mut x: Vec<f64> = x.iter().map(|&x| f64::from(x)).collect();
        if let Some((groups, silu)) = self.norm {
            x = group_norm(&x, height * width, groups, &norm_weight, &norm_bias, silu);
        }
        let Geometry { stride, padding, enlarged } = self.geometry;
        let factor = if enlarged { 2 } else { 1 };
        let pixel = |picture: usize, row: usize, column: usize, channel: usize| {
            let inside = row >= padding.top
                && column >= padding.left
                && row - padding.top < height * factor
                && column - padding.left < width * factor;
            if !inside {
                return 0.0;
            }
            let (row, column) = ((row - padding.top) / factor, (column - padding.left) / factor);
            x[((picture * height + row) * width + column) * channels + channel]
        };
        let shape = self.output().unwrap();
        let &[_, rows, columns, outputs] = shape.dims() else { unreachable!() };
        let element = |index: usize| {
            let (out, place) = (index % outputs, index / outputs);
            let (column, row, picture) = (place % columns, place / columns % rows, place / columns / rows);
            let mut sum = f64::from(bias[out]) + if self.residual { f64::from(residual[index]) } else { 0.0 };
            for i in 0..self.kernel[0] {
                for j in 0..self.kernel[1] {
                    for channel in 0..channels {
                        let tap = ((out * self.kernel[0] + i) * self.kernel[1] + j) * channels + channel;
                        sum += pixel(picture, row * stride + i, column * stride + j, channel)
                            * f64::from(weight[tap]);
                    }
                }
            }
            sum
        };
        (0..shape.elements()).map(element).collect()
    }
}

fn cases() -> impl Strategy<Value = Case> {
    let picture = (1..3usize, 2..8usize, 2..8usize, 1..4usize, 1..5usize);
    let kernel = ([1..4usize, 1..4usize], 1..20usize, 1..3usize, any::<bool>());
    let padding = (0..3usize, 0..3usize, 0..3usize, 0..3usize);
    let rest = (any::<bool>(), any::<bool>(), any::<bool>(), 1..6usize);
    let all = (picture, kernel, padding, rest).prop_map(
        |((b, h, w, groups, width), (kernel, outputs, stride, enlarged), padding, rest)| {
            let (left, right, top, bottom) = padding;
            let (normed, silu, residual, band_rows) = rest;
            let padding = Padding { left, right, top, bottom };
            Case {
                x: [b, h, w, groups * width],
                kernel,
                outputs,
                geometry: Geometry { stride, padding, enlarged },
                norm: normed.then_some((groups, silu)),
                residual,
                band_rows,
            }
        },
    );
    all.prop_filter("the kernel is larger than the picture", |case| case.output().is_ok())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn a_convolution_equals_its_definition_in_f64(case in cases()) {
        assert_close(&case.run(), &case.expected());
    }

    #[test]
    fn bands_of_any_height_give_the_same_bits(case in cases(), band_rows in 1..9usize) {
        prop_assert_eq!(case.run(), Case { band_rows, ..case }.run());
    }

    #[test]
    fn statistics_and_norm_equal_their_definition_in_f64(
        (b, h, w) in (1..3usize, 2..40usize, 2..40usize), (groups, width) in (1..6usize, 1..20usize),
        silu in any::<bool>(),
    ) {
        let channels = groups * width;
        let x: Vec<f32> = normals(1, b * h * w * channels).iter().map(|x| 3.0 + 2.0 * x).collect();
        let (weight, bias) = (normals(2, channels), normals(3, channels));
        let mut trial = Trial::default();
        let id = trial.input([b, h, w, channels], &x);
        let norm_weight = trial.input([channels], &weight);
        let norm_bias = trial.input([channels], &bias);
        let statistics = group_statistics(&mut trial.program, "statistics", id, groups, EPSILON).unwrap();
        let norm = Norm { statistics, weight: norm_weight, bias: norm_bias, silu };
        let y = group_norm_tokens(&mut trial.program, "y", id, norm).unwrap();
        prop_assert_eq!(trial.program.shape(y), &Shape::from([b, h * w, channels]));
        let x: Vec<f64> = x.iter().map(|&x| f64::from(x)).collect();
        assert_close(&trial.run(y), &group_norm(&x, h * w, groups, &weight, &bias, silu));
    }

    #[test]
    fn channels_go_last_and_come_back(b in 1..3usize, c in 1..7usize, h in 1..6usize, w in 1..6usize) {
        let planes = normals(1, b * c * h * w);
        let pixels = {
            let mut trial = Trial::default();
            let id = trial.input([b, c, h, w], &planes);
            let pixels = channels_last(&mut trial.program, "pixels", id).unwrap();
            trial.run(pixels)
        };
        for (index, value) in planes.iter().enumerate() {
            let (picture, channel, place) = (index / (c * h * w), index / (h * w) % c, index % (h * w));
            prop_assert_eq!(pixels[(picture * h * w + place) * c + channel], *value);
        }
        for first in 0..c {
            let mut trial = Trial::default();
            let id = trial.input([b, h, w, c], &pixels);
            let some = channels_first(&mut trial.program, "planes", id, first..c, Some((-0.5, 1.0))).unwrap();
            let expected: Vec<f32> = planes
                .chunks(c * h * w)
                .flat_map(|picture| &picture[first * h * w..])
                .map(|value| value.clamp(-0.5, 1.0))
                .collect();
            prop_assert_eq!(trial.run(some), expected);
        }
    }
}

fn shape_error(result: Result<TensorId>) -> String {
    let error = result.err().unwrap();
    assert_eq!(error.kind, ErrorKind::Shape);
    error.to_string()
}

#[test]
fn shapes_that_do_not_fit_are_refused_in_words() {
    let mut program = Program::new();
    let x = program.input("x", [1, 4, 4, 6]);
    let weight = program.input("weight", [5, 3, 3, 6]);
    let narrow = program.input("narrow weight", [5, 3, 3, 4]);
    let bias = program.input("bias", [5]);
    let geometry = Geometry { stride: 1, padding: Padding::even(1), enlarged: false };
    let layer = Convolution { weight, bias, geometry, norm: None, band_rows: 2 };

    let cause =
        shape_error(conv2d(&mut program, "y", x, Convolution { weight: narrow, ..layer.clone() }, None));
    assert!(cause.contains("[1, 4, 4, 6]") && cause.contains("[5, 3, 3, 4]"), "{cause}");
    let cause =
        shape_error(conv2d(&mut program, "y", x, Convolution { band_rows: 0, ..layer.clone() }, None));
    assert!(cause.contains("bands"), "{cause}");
    let cause = shape_error(conv2d(&mut program, "y", x, Convolution { bias: x, ..layer.clone() }, None));
    assert!(cause.contains("bias"), "{cause}");
    let stride = Geometry { stride: 3, ..geometry };
    shape_error(conv2d(&mut program, "y", x, Convolution { geometry: stride, ..layer.clone() }, None));
    let small = program.input("small", [1, 1, 1, 6]);
    let bare = Geometry { padding: Padding::default(), ..geometry };
    shape_error(conv2d(&mut program, "y", small, Convolution { geometry: bare, ..layer }, None));

    let cause = shape_error(group_statistics(&mut program, "statistics", x, 4, EPSILON));
    assert!(cause.contains("groups"), "{cause}");
    shape_error(channels_last(&mut program, "pixels", bias));
    shape_error(channels_first(&mut program, "planes", x, 4..7, None));
}
