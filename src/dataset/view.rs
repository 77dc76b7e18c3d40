//! Views: the forms in which training shows one picture. Latents are made of each view once, ahead of training.

use super::augmentation::{Augmentation, Change};
use super::buckets::Bucket;
use super::crop::{Crop, Filter, resample};
use super::framing::{Framing, Place};
use super::jitter;
use super::picture_draw::PictureDraw;
use super::turn;
use crate::random::{Purpose, Stream};
use fast_image_resize::ResizeError;
use image::{RgbImage, imageops};
use serde::Serialize;

/// A part of a picture, and what is done to it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct View {
    /// The part that fills the bucket. Where it is turned, the window of this size and centre that is turned too.
    pub crop: Crop,
    /// What is done to it.
    pub change: Change,
}

impl View {
    /// The views of a picture of `size` in `bucket`, at least one and each once.
    pub(super) fn all(
        size: (u32, u32),
        bucket: Bucket,
        framing: &Framing,
        augmentation: &Augmentation,
        draw: PictureDraw,
    ) -> Vec<Self> {
        let mut views = Vec::new();
        for index in 0..augmentation.views(framing.place == Place::Random) {
            let change = augmentation.change(draw, index);
            let window = framing.window(size, bucket, draw, index);
            let view = Self { crop: turn::window_inside(size, &window, change.degrees), change };
            if !views.contains(&view) {
                views.push(view);
            }
        }
        views
    }

    /// The view of `picture` at the size of `bucket`.
    pub(super) fn render(&self, picture: &RgbImage, bucket: Bucket) -> Result<RgbImage, ResizeError> {
        let mut shown = match self.change.degrees {
            0.0 => resample(picture, &self.crop, bucket, Filter::Lanczos)?,
            degrees => turn::resample_turned(picture, &self.crop, degrees, bucket)?,
        };
        jitter::apply(&mut shown, &self.change);
        if self.change.mirrored {
            imageops::flip_horizontal_in_place(&mut shown);
        }
        Ok(shown)
    }
}

/// Which of `views` the sample at `ordinal` in optimizer step `step` shows.
///
/// `step` counts from 0; `ordinal` numbers the samples of a step through all its micro-batches.
pub fn shown_view(seed: u64, step: usize, ordinal: usize, views: usize) -> usize {
    Stream::new(seed, Purpose::Augmentation, 1, step as u32, ordinal as u32).below(0, views)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::framing::Shapes;

    const DRAW: PictureDraw = PictureDraw { seed: 2, picture: 8 };
    const BUCKET: Bucket = Bucket { width: 64, height: 64 };

    fn picture() -> RgbImage {
        RgbImage::from_fn(90, 60, |x, y| image::Rgb([(2 * x) as u8, (4 * y) as u8, ((x * y) % 251) as u8]))
    }

    fn views(framing: &Framing, augmentation: &Augmentation) -> Vec<View> {
        View::all((90, 60), BUCKET, framing, augmentation, DRAW)
    }

    #[test]
    fn the_mirror_image_is_exact() {
        let framing = Framing { shapes: Shapes::Square, ..Framing::usual(64) };
        let views = views(&framing, &Augmentation { flip: true, ..Augmentation::default() });
        let [plain, mirrored] = [0, 1].map(|view: usize| views[view].render(&picture(), BUCKET).unwrap());
        assert_eq!(views.len(), 2);
        assert!(mirrored == imageops::flip_horizontal(&plain) && mirrored != plain);
    }

    #[test]
    fn equal_views_are_one() {
        // Nothing is cut off a picture of the bucket's shape, so every place is the same.
        let framing = Framing { place: Place::Random, ..Framing::usual(64) };
        let augmentation = Augmentation { variants: 5, ..Augmentation::default() };
        let square = View::all((90, 90), BUCKET, &framing, &augmentation, DRAW);
        assert_eq!((square.len(), views(&framing, &augmentation).len()), (1, 5));
    }

    #[test]
    fn every_view_fills_the_bucket() {
        let framing = Framing { place: Place::Random, ..Framing::usual(64) };
        let all = Augmentation {
            flip: true,
            rotation: 15.0,
            brightness: 0.2,
            contrast: 0.2,
            saturation: 0.5,
            hue: 0.2,
            variants: 8,
        };
        let views = views(&framing, &all);
        assert_eq!(views.len(), 8);
        for view in views {
            let shown = view.render(&picture(), BUCKET).unwrap();
            assert_eq!(shown.dimensions(), (64, 64));
        }
    }

    #[test]
    fn appearances_show_all_views_equally_often() {
        let mut counts = [0usize; 4];
        (0..8000).for_each(|n| counts[shown_view(3, n / 5, n % 5, 4)] += 1);
        let deviation = (8000.0f64 * 0.25 * 0.75).sqrt();
        assert!(counts.iter().all(|&n| (n as f64 - 2000.0).abs() < 4.0 * deviation), "{counts:?}");
        assert_eq!(shown_view(3, 17, 2, 4), shown_view(3, 17, 2, 4));
        assert_eq!(shown_view(3, 17, 2, 1), 0);
    }
}
