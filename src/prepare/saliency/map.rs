//! A map of values over a picture.

/// Values from left to right, then from top to bottom.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Map {
    /// Values from left to right.
    pub(super) width: usize,
    /// Values from top to bottom.
    pub(super) height: usize,
    /// `[height, width]`.
    pub(super) values: Vec<f64>,
}

/// A mean below it is rounding.
const LEVEL: f64 = 1e-9;

impl Map {
    /// The map of `value(x, y)`.
    pub(super) fn from_fn(width: usize, height: usize, value: impl Fn(usize, usize) -> f64) -> Self {
        let values = (0..width * height).map(|i| value(i % width, i / width)).collect();
        Self { width, height, values }
    }

    /// The value at a place, which is moved inside if it lies outside.
    pub(super) fn at(&self, x: isize, y: isize) -> f64 {
        let inside = |place: isize, side: usize| place.clamp(0, side.max(1) as isize - 1) as usize;
        let index = inside(y, self.height) * self.width + inside(x, self.width);
        self.values.get(index).copied().unwrap_or_default()
    }

    /// Every value over their mean; nothing if that is zero or no number.
    pub(super) fn relative(mut self) -> Option<Self> {
        let mean = self.values.iter().sum::<f64>() / self.values.len().max(1) as f64;
        if !mean.is_finite() || mean <= LEVEL {
            return None;
        }
        self.values.iter_mut().for_each(|value| *value /= mean);
        Some(self)
    }

    /// The sum of two maps of one size.
    pub(super) fn plus(mut self, other: &Self) -> Self {
        self.values.iter_mut().zip(&other.values).for_each(|(value, added)| *value += added);
        self
    }

    /// Every value times `weight(u, v)`, where `u` and `v` run from -0.5 to 0.5 over the map.
    pub(super) fn weighted(self, weight: impl Fn(f64, f64) -> f64) -> Self {
        let along = |place: usize, side: usize| (place as f64 + 0.5) / side as f64 - 0.5;
        Self::from_fn(self.width, self.height, |x, y| {
            self.at(x as isize, y as isize) * weight(along(x, self.width), along(y, self.height))
        })
    }

    /// The map at another size, linear between values.
    pub(super) fn resized(&self, width: usize, height: usize) -> Self {
        let place = |to: usize, new: usize, old: usize| (to as f64 + 0.5) * old as f64 / new as f64 - 0.5;
        Self::from_fn(width, height, |x, y| {
            let (x, y) = (place(x, width, self.width), place(y, height, self.height));
            let (left, top) = (x.floor(), y.floor());
            let (right_share, lower_share) = (x - left, y - top);
            let row = |y: isize| {
                let (a, b) = (self.at(left as isize, y), self.at(left as isize + 1, y));
                a + (b - a) * right_share
            };
            let (upper, lower) = (row(top as isize), row(top as isize + 1));
            upper + (lower - upper) * lower_share
        })
    }

    /// The map under a Gaussian of standard deviation `sigma`, edges repeated.
    pub(super) fn blurred(&self, sigma: f64) -> Self {
        let reach = (3.0 * sigma).ceil() as isize;
        let weights: Vec<f64> =
            (-reach..=reach).map(|d| (-(d * d) as f64 / (2.0 * sigma * sigma)).exp()).collect();
        let total: f64 = weights.iter().sum();
        let taps = |value: &dyn Fn(isize) -> f64| -> f64 {
            weights.iter().zip(-reach..).map(|(weight, d)| weight * value(d)).sum::<f64>() / total
        };
        let rows =
            Self::from_fn(self.width, self.height, |x, y| taps(&|d| self.at(x as isize + d, y as isize)));
        Self::from_fn(self.width, self.height, |x, y| taps(&|d| rows.at(x as isize, y as isize + d)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blur_keeps_a_level_map_and_the_sum_of_a_point() {
        let level = Map::from_fn(9, 5, |_, _| 2.5);
        assert!(level.blurred(2.0).values.iter().all(|value| (value - 2.5).abs() < 1e-12));
        let point = Map::from_fn(41, 41, |x, y| f64::from(u8::from((x, y) == (20, 20))));
        let blurred = point.blurred(2.0);
        assert!((blurred.values.iter().sum::<f64>() - 1.0).abs() < 1e-9);
        // The density of the bell at its middle, 1 / (2 pi sigma^2), up to what lies beyond three deviations.
        assert!((blurred.at(20, 20) - 1.0 / (8.0 * std::f64::consts::PI)).abs() < 3e-4);
    }

    #[test]
    fn a_slope_stays_a_slope_at_another_size() {
        let slope = Map::from_fn(8, 4, |x, _| x as f64 + 0.5);
        let wide = slope.resized(16, 4);
        for x in 1..15 {
            assert!((wide.at(x, 2) - (x as f64 + 0.5) / 2.0).abs() < 1e-12, "at {x}");
        }
    }

    #[test]
    fn a_map_without_values_of_note_has_no_relative_form() {
        assert!(Map::from_fn(3, 3, |_, _| 0.0).relative().is_none());
        assert!(Map::from_fn(3, 3, |_, _| f64::NAN).relative().is_none());
        let relative = Map::from_fn(2, 1, |x, _| if x == 0 { 1.0 } else { 3.0 }).relative().unwrap();
        assert_eq!(relative.values, [0.5, 1.5]);
    }
}
