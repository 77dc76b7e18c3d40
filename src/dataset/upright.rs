//! Turning a picture upright, as its metadata says.

use image::metadata::Orientation;
use image::{DynamicImage, RgbImage};

/// The side of the squares in which pixels change places, so that both pictures stay in the processor's cache.
const SQUARE: usize = 32;

/// `picture` turned upright.
pub(super) fn upright(mut picture: DynamicImage, orientation: Orientation) -> DynamicImage {
    let (across, down) = match orientation {
        Orientation::Rotate90 => (false, true),
        Orientation::Rotate270 => (true, false),
        Orientation::Rotate90FlipH => (false, false),
        Orientation::Rotate270FlipH => (true, true),
        _ => {
            picture.apply_orientation(orientation);
            return picture;
        }
    };
    match picture {
        DynamicImage::ImageRgb8(pixels) => DynamicImage::ImageRgb8(sides_swapped(&pixels, across, down)),
        mut other => {
            other.apply_orientation(orientation);
            other
        }
    }
}

/// The picture with rows and columns swapped: pixel (x, y) was (y, x), counted from the right with
/// `from_right`, and from below with `from_below`.
fn sides_swapped(picture: &RgbImage, from_right: bool, from_below: bool) -> RgbImage {
    let (width, height) = (picture.width() as usize, picture.height() as usize);
    let source = picture.as_raw();
    let mut out = vec![0; source.len()];
    for top in (0..width).step_by(SQUARE) {
        for left in (0..height).step_by(SQUARE) {
            for y in top..(top + SQUARE).min(width) {
                let column = if from_right { width - 1 - y } else { y };
                let end = (left + SQUARE).min(height);
                let row = &mut out[(y * height + left) * 3..(y * height + end) * 3];
                for (x, pixel) in (left..end).zip(row.chunks_exact_mut(3)) {
                    let line = if from_below { height - 1 - x } else { x };
                    let at = (line * width + column) * 3;
                    pixel.copy_from_slice(&source[at..at + 3]);
                }
            }
        }
    }
    RgbImage::from_raw(picture.height(), picture.width(), out).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_turn_is_that_of_the_image_crate() {
        let picture = RgbImage::from_fn(70, 45, |x, y| image::Rgb([x as u8, y as u8, (x * y) as u8]));
        for value in 1..=8 {
            let orientation = Orientation::from_exif(value).unwrap();
            let mut expected = DynamicImage::from(picture.clone());
            expected.apply_orientation(orientation);
            assert_eq!(upright(picture.clone().into(), orientation), expected, "{orientation:?}");
        }
    }
}
