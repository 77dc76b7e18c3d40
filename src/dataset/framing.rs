//! Which bucket a picture of a data set goes to, and which part of the picture fills it.

use super::buckets::{Bucket, Measure, bucket_for, buckets_of, usual_aspects};
use super::crop::Crop;
use super::picture_draw::PictureDraw;
use crate::error::Result;
use crate::random::Purpose;

/// See the module's documentation.
#[derive(Debug, Clone, PartialEq)]
pub struct Framing {
    /// The edge of a bucket in pixels, as `measure` says.
    pub resolution: usize,
    /// What `resolution` and the edges of `downsample` measure.
    pub measure: Measure,
    /// The shapes of buckets.
    pub shapes: Shapes,
    /// Where a window lies that is smaller than its picture.
    pub place: Place,
    /// Pictures that are scaled down before they are cropped.
    pub downsample: Option<Downsample>,
}

/// The shapes that the buckets of a data set have.
#[derive(Debug, Clone, PartialEq)]
pub enum Shapes {
    /// The eight usual ones; a picture goes to the nearest.
    Usual,
    /// A square.
    Square,
    /// Aspect ratios of the user's, at least one; a picture goes to the nearest.
    Nearest(Vec<f64>),
    /// Aspect ratios of the user's, at least one; each picture gets one by chance.
    Random(Vec<f64>),
}

/// Where a window lies in its picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// In the middle.
    Centre,
    /// In the lower right corner, which is SimpleTuner's `corner`.
    Corner,
    /// Anywhere, another place in each view.
    Random,
}

/// A window of a picture that is scaled down first, so that cropping takes the same share of all of them.
///
/// Without it, the window is the largest that the picture holds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Downsample {
    /// Only pictures with a longer edge than this are meant.
    pub above: f64,
    /// The edge that they are scaled to; never less than what fills the bucket, nor more than they have.
    pub to: f64,
}

impl Framing {
    /// The plain framing: the usual buckets at `resolution`, cut out of the middle.
    pub fn usual(resolution: usize) -> Self {
        Self {
            resolution,
            measure: Measure::Area,
            shapes: Shapes::Usual,
            place: Place::Centre,
            downsample: None,
        }
    }

    /// The buckets, each once.
    ///
    /// # Errors
    /// A resolution that gives none.
    pub fn buckets(&self) -> Result<Vec<Bucket>> {
        match &self.shapes {
            Shapes::Usual => buckets_of(self.resolution, self.measure, &usual_aspects()),
            Shapes::Square => buckets_of(self.resolution, self.measure, &[1.0]),
            Shapes::Nearest(aspects) | Shapes::Random(aspects) => {
                buckets_of(self.resolution, self.measure, aspects)
            }
        }
    }

    /// The one of `buckets` (see [`buckets`](Self::buckets)) that a picture of `size` goes to.
    pub(super) fn bucket(&self, size: (u32, u32), buckets: &[Bucket], draw: PictureDraw) -> Option<Bucket> {
        match self.shapes {
            Shapes::Random(_) => {
                let chosen = draw.stream(Purpose::CropPlace, 1, 0).below(0, buckets.len());
                buckets.get(chosen).copied()
            }
            _ => bucket_for(size.0 as usize, size.1 as usize, buckets),
        }
    }

    /// The window of view `view` of a picture of `size` that fills `bucket`.
    pub(super) fn window(&self, size: (u32, u32), bucket: Bucket, draw: PictureDraw, view: usize) -> Crop {
        let largest = Crop::centred(size.0, size.1, bucket);
        let window = self.scaled_down(size, bucket, largest);
        let (across, down) = match self.place {
            Place::Centre => return window,
            Place::Corner => (1.0, 1.0),
            Place::Random => {
                let place = draw.stream(Purpose::CropPlace, 0, view);
                (f64::from(place.uniform(0)), f64::from(place.uniform(1)))
            }
        };
        let (width, height) = (f64::from(size.0), f64::from(size.1));
        Crop { x: across * (width - window.width), y: down * (height - window.height), ..window }
    }

    /// `largest` or, of a picture that is scaled down first, the smaller window in the middle.
    fn scaled_down(&self, (width, height): (u32, u32), bucket: Bucket, largest: Crop) -> Crop {
        let edge = self.measure.edge(width, height);
        let Some(downsample) = self.downsample.filter(|downsample| edge > downsample.above) else {
            return largest;
        };
        let fills = bucket.width as f64 / largest.width;
        let scale = (downsample.to / edge).min(1.0);
        if scale <= fills {
            return largest;
        }
        let (wide, high) = (largest.width * fills / scale, largest.height * fills / scale);
        Crop {
            x: (f64::from(width) - wide) / 2.0,
            y: (f64::from(height) - high) / 2.0,
            width: wide,
            height: high,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const DRAW: PictureDraw = PictureDraw { seed: 5, picture: 77 };

    fn bucket(width: usize, height: usize) -> Bucket {
        Bucket { width, height }
    }

    #[test]
    fn a_corner_is_the_lower_right_one_and_the_middle_is_the_middle() {
        let framing = Framing { place: Place::Corner, shapes: Shapes::Square, ..Framing::usual(128) };
        let window = framing.window((300, 200), bucket(128, 128), DRAW, 0);
        assert_eq!((window.x, window.y, window.width, window.height), (100.0, 0.0, 200.0, 200.0));
        let centre = Framing { place: Place::Centre, ..framing };
        assert_eq!(centre.window((300, 200), bucket(128, 128), DRAW, 0).x, 50.0);
    }

    #[test]
    fn random_places_differ_by_view_and_repeat() {
        let framing = Framing { place: Place::Random, shapes: Shapes::Square, ..Framing::usual(128) };
        let places: Vec<f64> =
            (0..400).map(|view| framing.window((300, 200), bucket(128, 128), DRAW, view).x).collect();
        assert_eq!(places[3], framing.window((300, 200), bucket(128, 128), DRAW, 3).x);
        // Uniform on 0 to 100: the mean of 400 is within four deviations of 50.
        let mean = places.iter().sum::<f64>() / 400.0;
        assert!((mean - 50.0).abs() < 4.0 * 100.0 / 12f64.sqrt() / 20.0, "{mean}");
        assert!(places.iter().all(|x| (0.0..=100.0).contains(x)));
    }

    #[test]
    fn a_large_picture_that_is_scaled_down_first_shows_a_part_of_itself() {
        let downsample = Some(Downsample { above: 1000.0, to: 500.0 });
        let framing = Framing { shapes: Shapes::Square, downsample, ..Framing::usual(250) };
        // Of the same area as a square of 2000: at 500, a bucket of 250 covers half the edge.
        let window = framing.window((2000, 2000), bucket(250, 250), DRAW, 0);
        assert_eq!((window.x, window.width, window.height), (500.0, 1000.0, 1000.0));
        // Not above the limit, or scaled to less than the bucket: all of it.
        assert_eq!(framing.window((1000, 1000), bucket(250, 250), DRAW, 0).width, 1000.0);
        assert_eq!(framing.window((2000, 2000), bucket(600, 600), DRAW, 0).width, 2000.0);
    }

    #[test]
    fn shapes_of_ones_own_go_to_the_nearest_or_by_chance() {
        let aspects = vec![1.0, 2.0, 0.5];
        let nearest = Framing { shapes: Shapes::Nearest(aspects.clone()), ..Framing::usual(128) };
        let buckets = nearest.buckets().unwrap();
        assert_eq!(nearest.bucket((300, 100), &buckets, DRAW), Some(buckets[1]));
        let random = Framing { shapes: Shapes::Random(aspects), ..Framing::usual(128) };
        let mut counts = [0usize; 3];
        for picture in 0..3000 {
            let chosen = random.bucket((300, 100), &buckets, PictureDraw { seed: 1, picture }).unwrap();
            counts[buckets.iter().position(|b| *b == chosen).unwrap()] += 1;
        }
        let deviation = (3000.0f64 * (1.0 / 3.0) * (2.0 / 3.0)).sqrt();
        assert!(counts.iter().all(|&n| (n as f64 - 1000.0).abs() < 4.0 * deviation), "{counts:?}");
    }

    proptest! {
        #[test]
        fn a_window_lies_in_its_picture(
            width in 1u32..5000, height in 1u32..5000, view in 0usize..9, above in 1.0f64..3000.0, to in 1.0f64..3000.0,
            place in prop::sample::select(vec![Place::Centre, Place::Corner, Place::Random]), resolution in 64usize..1200,
        ) {
            let downsample = Some(Downsample { above, to });
            let framing = Framing { place, downsample, ..Framing::usual(resolution) };
            let bucket = framing.bucket((width, height), &framing.buckets().unwrap(), DRAW).unwrap();
            let window = framing.window((width, height), bucket, DRAW, view);
            prop_assert!(window.x >= 0.0 && window.y >= 0.0 && window.width > 0.0 && window.height > 0.0);
            prop_assert!(window.x + window.width <= f64::from(width) * (1.0 + 1e-12));
            prop_assert!(window.y + window.height <= f64::from(height) * (1.0 + 1e-12));
        }
    }
}
