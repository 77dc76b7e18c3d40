//! Saliency as the distance of a place's colour from the mean of the largest rectangle around it that is symmetric
//! and inside the picture: `S(x, y) = |mean of Lab over x-dx..x+dx, y-dy..y+dy - (Gauss * Lab)(x, y)|` with
//! `dx = min(x, W-1-x)` and `dy = min(y, H-1-y)`.

use super::colour::lab;
use super::map::Map;
use image::RgbImage;

/// The standard deviation in pixels of the blur that hides noise.
const BLUR: f64 = 1.0;

/// The map of a picture, of its size.
pub(super) fn map(picture: &RgbImage) -> Map {
    let (width, height) = (picture.width() as usize, picture.height() as usize);
    let colours: Vec<[f64; 3]> = picture.pixels().map(|&pixel| lab(pixel)).collect();
    let mut squares = Map::from_fn(width, height, |_, _| 0.0);
    for channel in 0..3 {
        let values = colours.iter().map(|colour| colour[channel]).collect();
        let plane = Map { width, height, values };
        let (sums, blurred) = (Sums::new(&plane), plane.blurred(BLUR));
        squares = squares.plus(&Map::from_fn(width, height, |x, y| {
            let (dx, dy) = (x.min(width - 1 - x), y.min(height - 1 - y));
            (sums.mean(x - dx, y - dy, x + dx, y + dy) - blurred.at(x as isize, y as isize)).powi(2)
        }));
    }
    squares.values.iter_mut().for_each(|value| *value = value.sqrt());
    squares
}

/// Sums over every rectangle that starts at the upper left corner.
struct Sums {
    /// Sums in one row: one more than the plane's values.
    stride: usize,
    sums: Vec<f64>,
}

impl Sums {
    fn new(plane: &Map) -> Self {
        let stride = plane.width + 1;
        let mut sums = vec![0.0; stride * (plane.height + 1)];
        for y in 0..plane.height {
            let mut row = 0.0;
            for x in 0..plane.width {
                row += plane.values[y * plane.width + x];
                sums[(y + 1) * stride + x + 1] = sums[y * stride + x + 1] + row;
            }
        }
        Self { stride, sums }
    }

    /// The mean over a rectangle; all four edges belong to it.
    fn mean(&self, left: usize, top: usize, right: usize, bottom: usize) -> f64 {
        let sum = |x: usize, y: usize| self.sums[y * self.stride + x];
        let (right, bottom) = (right + 1, bottom + 1);
        let total = sum(right, bottom) - sum(left, bottom) - sum(right, top) + sum(left, top);
        total / ((right - left) * (bottom - top)) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means_are_those_of_the_definition() {
        let plane = Map::from_fn(7, 5, |x, y| (x * x + 3 * y) as f64);
        let sums = Sums::new(&plane);
        for (left, top, right, bottom) in [(0, 0, 6, 4), (2, 1, 4, 3), (3, 3, 3, 3), (0, 2, 5, 2)] {
            let cells = (top..=bottom).flat_map(|y| (left..=right).map(move |x| (x, y)));
            let values: Vec<f64> = cells.map(|(x, y)| plane.at(x as isize, y as isize)).collect();
            let mean = values.iter().sum::<f64>() / values.len() as f64;
            assert!((sums.mean(left, top, right, bottom) - mean).abs() < 1e-12);
        }
    }

    #[test]
    fn a_spot_of_another_colour_stands_out_and_its_ground_does_not() {
        let ground = image::Rgb([40, 90, 200]);
        let picture = RgbImage::from_fn(64, 48, |x, y| {
            if (36..46).contains(&x) && (20..30).contains(&y) { image::Rgb([220, 60, 40]) } else { ground }
        });
        let map = map(&picture);
        assert!(map.at(41, 25) > 20.0 * map.at(8, 8).max(0.1), "{} and {}", map.at(41, 25), map.at(8, 8));
    }
}
