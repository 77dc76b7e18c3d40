//! Saliency as what is unexpected in a picture's spectrum: the logarithm of its amplitudes without their local mean,
//! with the phases kept, turned back into a picture: `S = Gauss * |F^-1(exp(A - box3x3(A) + i phase))|^2`.

use super::map::Map;
use image::GrayImage;
use std::f64::consts::TAU;

/// The standard deviation in pixels of the last blur.
const BLUR: f64 = 2.5;
/// What keeps the logarithm finite.
const TINY: f64 = 1e-6;

/// The map of a grey picture, of its size.
pub(super) fn map(grey: &GrayImage) -> Map {
    let (width, height) = (grey.width() as usize, grey.height() as usize);
    let values: Vec<Complex> = grey.as_raw().iter().map(|&v| (f64::from(v) / 255.0, 0.0)).collect();
    let spectrum = transformed(&values, width, height, -1.0);
    let amplitudes = Map { width, height, values: spectrum.iter().map(|&(re, im)| re.hypot(im)).collect() };
    let logs =
        Map { values: amplitudes.values.iter().map(|a| (a + TINY).ln()).collect(), ..amplitudes.clone() };
    let expected = neighbourhood(&logs);
    let residual: Vec<Complex> = (spectrum.iter().zip(&amplitudes.values))
        .zip(logs.values.iter().zip(&expected.values))
        .map(|((&(re, im), amplitude), (log, mean))| {
            let scale = (log - mean).exp() / (amplitude + TINY);
            (re * scale, im * scale)
        })
        .collect();
    let back = transformed(&residual, width, height, 1.0);
    Map { width, height, values: back.iter().map(|&(re, im)| re * re + im * im).collect() }.blurred(BLUR)
}

/// The mean of each value and its eight neighbours; a spectrum goes on at the opposite edge.
fn neighbourhood(map: &Map) -> Map {
    let (width, height) = (map.width as isize, map.height as isize);
    Map::from_fn(map.width, map.height, |x, y| {
        let around = (-1..=1).flat_map(|dy| (-1..=1).map(move |dx| (dx, dy)));
        let value = |(dx, dy): (isize, isize)| {
            map.at((x as isize + dx).rem_euclid(width), (y as isize + dy).rem_euclid(height))
        };
        around.map(value).sum::<f64>() / 9.0
    })
}

/// Real and imaginary part.
type Complex = (f64, f64);

/// The discrete Fourier transform of `[height, width]` values: with `sign` -1 there, with 1 back but for the factor
/// `1 / (width * height)`.
///
/// Sides are at most 64, so that the plain sums cost about a millisecond and take every size.
fn transformed(values: &[Complex], width: usize, height: usize, sign: f64) -> Vec<Complex> {
    let rows: Vec<Complex> = values.chunks(width.max(1)).flat_map(|row| line(row, sign)).collect();
    let mut out = vec![(0.0, 0.0); rows.len()];
    for x in 0..width {
        let column: Vec<Complex> = rows.iter().skip(x).step_by(width).copied().collect();
        let places = out.iter_mut().skip(x).step_by(width);
        places.zip(line(&column, sign)).for_each(|(place, value)| *place = value);
    }
    debug_assert_eq!(out.len(), width * height);
    out
}

/// The transform of one row or column.
fn line(values: &[Complex], sign: f64) -> Vec<Complex> {
    let length = values.len();
    let turns: Vec<Complex> = (0..length)
        .map(|k| {
            let (sin, cos) = (sign * TAU * k as f64 / length as f64).sin_cos();
            (cos, sin)
        })
        .collect();
    let frequency = |k: usize| {
        values.iter().enumerate().fold((0.0, 0.0), |(re, im), (i, &(a, b))| {
            let (cos, sin) = turns[i * k % length];
            (re + a * cos - b * sin, im + a * sin + b * cos)
        })
    };
    (0..length).map(frequency).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_transform_of_a_wave_is_one_frequency_and_the_way_back_restores_it() {
        let (width, height) = (12, 10);
        let wave: Vec<Complex> = (0..width * height)
            .map(|i| ((TAU * (3 * (i % width)) as f64 / width as f64).cos(), 0.0))
            .collect();
        let spectrum = transformed(&wave, width, height, -1.0);
        for (i, &(re, im)) in spectrum.iter().enumerate() {
            let expected = if i == 3 || i == width - 3 { (width * height) as f64 / 2.0 } else { 0.0 };
            assert!((re - expected).abs() < 1e-9 && im.abs() < 1e-9, "{i}: {re} {im}");
        }
        let back = transformed(&spectrum, width, height, 1.0);
        for (&(re, _), &(was, _)) in back.iter().zip(&wave) {
            assert!((re / (width * height) as f64 - was).abs() < 1e-12);
        }
    }

    /// The same formulas with numpy's FFT and scipy's filters (`uniform_filter(size=3, mode="wrap")`,
    /// `gaussian_filter(sigma=2.5, mode="nearest", truncate=3)`), over the mean.
    #[test]
    fn the_map_agrees_with_numpy() {
        let grey =
            GrayImage::from_fn(16, 12, |x, y| image::Luma([((7 * x * x + 13 * y + 3 * x * y) % 256) as u8]));
        let map = map(&grey).relative().unwrap();
        for (x, y, expected) in [
            (0, 0, 0.294_577_905_909_348_35),
            (5, 3, 0.911_945_598_352_500_2),
            (15, 11, 1.436_673_133_006_222_2),
            (8, 6, 1.038_661_808_953_943),
            (12, 2, 1.095_033_469_170_794_8),
            (3, 9, 1.073_113_414_312_856_2),
        ] {
            assert!((map.at(x, y) - expected).abs() < 1e-4, "{x},{y}: {} for {expected}", map.at(x, y));
        }
    }

    #[test]
    fn a_dot_in_grain_stands_out() {
        let stream = crate::random::Stream::new(1, crate::random::Purpose::Noise, 0, 0, 0);
        let grey = GrayImage::from_fn(64, 48, |x, y| {
            let odd = (44..48).contains(&x) && (10..14).contains(&y);
            let grain = stream.below((y * 64 + x) as usize, 40) as u8;
            image::Luma([if odd { 255 } else { 90 + grain }])
        });
        let map = map(&grey);
        let highest = (0..map.values.len()).max_by(|&a, &b| map.values[a].total_cmp(&map.values[b])).unwrap();
        let (x, y) = (highest % 64, highest / 64);
        assert!((41..51).contains(&x) && (7..17).contains(&y), "{x}, {y}");
    }
}
