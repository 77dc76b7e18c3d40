//! Loss, learning rate and gradient norm over the steps, as one PNG.

use super::canvas::{Canvas, Point, text_height, text_width};
use super::metrics::{EvaluationMetrics, StepMetrics};
use super::png;
use crate::error::Result;
use image::{Rgb, RgbImage};
use std::ops::RangeInclusive;
use std::path::Path;

const WIDTH: u32 = 1280;
const PANEL_HEIGHT: u32 = 330;
const LEFT: u32 = 120;
const RIGHT: u32 = 36;
const HEADER: u32 = 44;
const FOOTER: u32 = 60;
const TEXT: u32 = 2;

const PAPER: Rgb<u8> = Rgb([255, 255, 255]);
const GRID: Rgb<u8> = Rgb([232, 234, 238]);
const AXIS: Rgb<u8> = Rgb([150, 156, 166]);
const INK: Rgb<u8> = Rgb([52, 58, 70]);
const FAINT_INK: Rgb<u8> = Rgb([112, 119, 132]);
const HELD_OUT: Rgb<u8> = Rgb([142, 68, 173]);

/// Writes the curves of a run to `path`.
pub fn write(path: &Path, metrics: &[StepMetrics], held_out: &[EvaluationMetrics]) -> Result<()> {
    png::write(path, &draw(metrics, held_out), &[])
}

/// Writes the learning rate of a run to come to `path`; `points` are steps and their rates.
pub fn write_learning_rate(path: &Path, points: &[(u64, f64)]) -> Result<()> {
    let points: Vec<_> = points.iter().map(|&(step, rate)| (step as f64, rate)).collect();
    let last = points.last().map_or(1.0, |point| point.0);
    let mut canvas = Canvas::new(WIDTH, PANEL_HEIGHT, PAPER);
    learning_rate(points).draw(&mut canvas, 0, &(0.0..=last));
    png::write(path, &canvas.into_picture(), &[])
}

fn learning_rate(points: Vec<(f64, f64)>) -> Panel {
    Panel {
        title: "learning rate",
        points,
        strong: Rgb([32, 145, 96]),
        faint: None,
        format: |value| format!("{value:.2e}"),
        beside: Vec::new(),
    }
}

/// Draws the curves of `metrics`, three panels below each other, the held-out loss beside the training loss.
pub fn draw(metrics: &[StepMetrics], held_out: &[EvaluationMetrics]) -> RgbImage {
    let curve = |of: fn(&StepMetrics) -> f64| -> Vec<(f64, f64)> {
        metrics
            .iter()
            .map(|step| (step.step as f64, of(step)))
            .filter(|(_, value)| value.is_finite())
            .collect()
    };
    let panels = [
        Panel {
            title: "loss",
            points: curve(|step| step.loss),
            strong: Rgb([31, 95, 191]),
            faint: Some(Rgb([190, 211, 240])),
            format: |value| format!("{value:.4}"),
            beside: held_out
                .iter()
                .map(|evaluation| (evaluation.step as f64, evaluation.loss))
                .filter(|(_, loss)| loss.is_finite())
                .collect(),
        },
        learning_rate(curve(|step| step.lr)),
        Panel {
            title: "gradient norm",
            points: curve(|step| step.grad_norm),
            strong: Rgb([209, 98, 26]),
            faint: Some(Rgb([246, 206, 172])),
            format: |value| format!("{value:.4}"),
            beside: Vec::new(),
        },
    ];
    let steps = x_range(metrics);
    let mut canvas = Canvas::new(WIDTH, PANEL_HEIGHT * panels.len() as u32, PAPER);
    for (index, panel) in panels.iter().enumerate() {
        panel.draw(&mut canvas, index as u32 * PANEL_HEIGHT, &steps);
    }
    canvas.into_picture()
}

fn x_range(metrics: &[StepMetrics]) -> RangeInclusive<f64> {
    let first = metrics.first().map_or(0, |step| step.step);
    let last = metrics.last().map_or(1, |step| step.step);
    let from = if first <= 1 { 0 } else { first };
    from as f64..=last.max(from + 1) as f64
}

/// One curve with its axes.
struct Panel {
    title: &'static str,
    /// (step, value), finite.
    points: Vec<(f64, f64)>,
    strong: Rgb<u8>,
    /// Colour of the values as they are; the strong line is then their mean over nearby steps.
    faint: Option<Rgb<u8>>,
    format: fn(f64) -> String,
    /// A second curve: the held-out loss.
    beside: Vec<(f64, f64)>,
}

impl Panel {
    fn draw(&self, canvas: &mut Canvas, top: u32, steps: &RangeInclusive<f64>) {
        let smooth = if self.faint.is_some() { smoothed(&self.points) } else { self.points.clone() };
        let lines = [&smooth[..], &self.beside].concat();
        let values = y_range(&self.points, &lines);
        let frame = Frame {
            left: LEFT,
            top: top + HEADER,
            width: WIDTH - LEFT - RIGHT,
            height: PANEL_HEIGHT - HEADER - FOOTER,
            steps: steps.clone(),
            values,
        };
        frame.draw_axes(canvas);
        if let Some(faint) = self.faint {
            canvas.line(&frame.place(&self.points), 1.2, faint);
        }
        canvas.line(&frame.place(&smooth), 2.6, self.strong);
        canvas.line(&frame.place(&self.beside), 2.6, HELD_OUT);
        self.draw_header(canvas, top, smooth.last());
    }

    /// The title, and at the right where the curve ends.
    fn draw_header(&self, canvas: &mut Canvas, top: u32, last: Option<&(f64, f64)>) {
        let baseline = top + HEADER - text_height(TEXT) - 10;
        canvas.fill(LEFT, baseline + 1, 12, 12, self.strong);
        canvas.text(LEFT + 22, baseline, TEXT, INK, self.title);
        if let Some(&(_, held_out)) = self.beside.last() {
            let left = LEFT + 22 + text_width(self.title, TEXT) + 30;
            canvas.fill(left, baseline + 1, 12, 12, HELD_OUT);
            let note = format!("held out: {}", (self.format)(held_out));
            canvas.text(left + 22, baseline, TEXT, INK, &note);
        }
        let note = match last {
            None => "no steps yet".to_owned(),
            Some(&(step, value)) => {
                let mean = if self.faint.is_some() && reach(&self.points) > 0 {
                    "mean of the last steps "
                } else {
                    ""
                };
                format!("{mean}{} at step {step}", (self.format)(value))
            }
        };
        canvas.text(WIDTH - RIGHT - text_width(&note, TEXT), baseline, TEXT, FAINT_INK, &note);
    }
}

/// A rectangle on the canvas that shows a range of steps and values.
struct Frame {
    left: u32,
    top: u32,
    width: u32,
    height: u32,
    steps: RangeInclusive<f64>,
    values: RangeInclusive<f64>,
}

impl Frame {
    fn x(&self, step: f64) -> f32 {
        self.left as f32 + (share(&self.steps, step) * f64::from(self.width)) as f32
    }

    fn y(&self, value: f64) -> f32 {
        self.top as f32 + ((1.0 - share(&self.values, value)) * f64::from(self.height)) as f32
    }

    fn place(&self, points: &[(f64, f64)]) -> Vec<Point> {
        points.iter().map(|&(step, value)| (self.x(step), self.y(value))).collect()
    }

    fn draw_axes(&self, canvas: &mut Canvas) {
        let bottom = self.top + self.height;
        for (value, label) in ticks(&self.values, 5) {
            let y = self.y(value).round() as u32;
            canvas.fill(self.left, y, self.width, 1, GRID);
            let left = self.left.saturating_sub(text_width(&label, TEXT) + 12);
            canvas.text(left, y.saturating_sub(text_height(TEXT) / 2 - 1), TEXT, FAINT_INK, &label);
        }
        for (step, label) in ticks(&self.steps, 10).into_iter().filter(|(step, _)| step.fract() == 0.0) {
            let x = self.x(step).round() as u32;
            canvas.fill(x, self.top, 1, self.height, GRID);
            canvas.fill(x, bottom, 1, 6, AXIS);
            let left = x.saturating_sub(text_width(&label, TEXT) / 2);
            let left = left.min(WIDTH.saturating_sub(text_width(&label, TEXT) + 6));
            canvas.text(left, bottom + 12, TEXT, FAINT_INK, &label);
        }
        canvas.fill(self.left, bottom, self.width, 1, AXIS);
        canvas.fill(self.left, self.top, 1, self.height, AXIS);
        let name = "step";
        let middle = self.left + self.width / 2 - text_width(name, TEXT) / 2;
        canvas.text(middle, bottom + 34, TEXT, FAINT_INK, name);
    }
}

/// Where `value` lies in `range`, from 0 to 1; values beyond are held at the edge.
fn share(range: &RangeInclusive<f64>, value: f64) -> f64 {
    ((value - range.start()) / (range.end() - range.start())).clamp(0.0, 1.0)
}

/// How many points to either side of one are averaged: together a twenty-fifth of all.
fn reach(points: &[(f64, f64)]) -> usize {
    points.len() / 50
}

/// The mean around each point.
fn smoothed(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let reach = reach(points);
    let mean_around = |at: usize| {
        let near = &points[at.saturating_sub(reach)..(at + reach + 1).min(points.len())];
        near.iter().map(|point| point.1).sum::<f64>() / near.len() as f64
    };
    points.iter().enumerate().map(|(at, &(step, _))| (step, mean_around(at))).collect()
}

/// A range that shows all of `smooth` and all but the outermost hundredth of `points`, from 0 where that is near.
fn y_range(points: &[(f64, f64)], smooth: &[(f64, f64)]) -> RangeInclusive<f64> {
    let mut sorted: Vec<f64> = points.iter().map(|point| point.1).collect();
    sorted.sort_by(f64::total_cmp);
    let outside = sorted.len() / 200;
    let inner = sorted.iter().copied().skip(outside).take(sorted.len() - 2 * outside);
    let shown = || inner.clone().chain(smooth.iter().map(|point| point.1));
    let (low, high) = (shown().fold(f64::INFINITY, f64::min), shown().fold(f64::NEG_INFINITY, f64::max));
    if low > high {
        return 0.0..=1.0;
    }
    let low = if (0.0..0.6 * high).contains(&low) || low == high && low > 0.0 { 0.0 } else { low };
    let margin = if low == high { 1.0 } else { 0.06 * (high - low) };
    (if low == 0.0 { low } else { low - margin })..=high + margin
}

/// Round values in `range` with their labels, about `count` of them.
fn ticks(range: &RangeInclusive<f64>, count: usize) -> Vec<(f64, String)> {
    let span = range.end() - range.start();
    let magnitude = 10f64.powf((span / count as f64).log10().floor());
    let wanted = span / count as f64;
    let step = [1.0, 2.0, 5.0, 10.0]
        .map(|factor| factor * magnitude)
        .into_iter()
        .find(|&step| step >= wanted * 0.999);
    let step = step.unwrap_or(10.0 * magnitude);
    let first = (range.start() / step - 1e-9).ceil() as i64;
    let last = (range.end() / step + 1e-9).floor() as i64;
    (first..=last)
        .map(|index| index as f64 * step)
        .map(|value| (value, tick_label(value, step, range)))
        .collect()
}

/// Decimals as far as the ticks differ; powers of ten for very small and very large ranges.
fn tick_label(value: f64, step: f64, range: &RangeInclusive<f64>) -> String {
    let largest = range.start().abs().max(range.end().abs());
    if value == 0.0 {
        "0".to_owned()
    } else if (0.01..1e6).contains(&largest) {
        let decimals = (-step.log10() - 1e-9).ceil().max(0.0) as usize;
        format!("{value:.decimals$}")
    } else {
        let text = format!("{value:.2e}");
        let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        format!("{}e{exponent}", mantissa.trim_end_matches('0').trim_end_matches('.'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metrics(step: u64, loss: f64) -> StepMetrics {
        StepMetrics { step, epoch: 0, loss, lr: 1e-4, grad_norm: 0.2, seconds: 0.1, samples: 4 }
    }

    fn labels(range: RangeInclusive<f64>, count: usize) -> Vec<String> {
        ticks(&range, count).into_iter().map(|(_, label)| label).collect()
    }

    #[test]
    fn ticks_are_round_numbers() {
        assert_eq!(labels(0.0..=1.0, 5), ["0", "0.2", "0.4", "0.6", "0.8", "1.0"]);
        assert_eq!(labels(0.0..=1000.0, 10).last().unwrap(), "1000");
        assert_eq!(labels(0.0..=0.00424, 5), ["0", "1e-3", "2e-3", "3e-3", "4e-3"]);
        assert_eq!(labels(0.31..=0.39, 4), ["0.32", "0.34", "0.36", "0.38"]);
    }

    #[test]
    fn outliers_do_not_flatten_the_curve() {
        let mut points: Vec<(f64, f64)> =
            (0..1000).map(|i| (f64::from(i), 0.5 + f64::from(i % 7) * 0.01)).collect();
        points[500].1 = 1e6;
        let range = y_range(&points, &points[..10]);
        assert!(*range.end() < 1.0);
    }

    #[test]
    fn smoothing_keeps_a_constant_and_the_number_of_points() {
        let points: Vec<(f64, f64)> = (0..300).map(|i| (f64::from(i), 2.0)).collect();
        assert_eq!(smoothed(&points), points);
        assert!(smoothed(&[]).is_empty());
    }

    #[test]
    fn any_run_can_be_drawn() {
        let runs = [
            vec![],
            vec![metrics(1, 0.3)],
            vec![metrics(1, 0.0), metrics(2, 0.0)],
            vec![metrics(5, -1.0), metrics(6, f64::NAN), metrics(7, 1e30)],
            (1..3000).map(|step| metrics(step, 1.0 / step as f64)).collect(),
        ];
        for run in runs {
            assert_eq!(draw(&run, &[]).dimensions(), (WIDTH, 3 * PANEL_HEIGHT));
        }
    }
}
