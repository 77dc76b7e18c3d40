//! Smaller copies of a picture, in which faces and salient regions are looked for.

use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};
use image::{GrayImage, RgbImage};
use std::borrow::Cow;

/// Width and height of a `width x height` picture whose longer side becomes `long` pixels.
pub(super) fn fitted(width: u32, height: u32, long: u32) -> (u32, u32) {
    let scale = f64::from(long) / f64::from(width.max(height).max(1));
    let side = |side: u32| ((f64::from(side) * scale).round() as u32).clamp(1, long);
    (side(width), side(height))
}

/// `picture`, or a copy with `long` pixels on its longer side if it has more.
pub(super) fn thumbnail(picture: &RgbImage, long: u32) -> Cow<'_, RgbImage> {
    if picture.width().max(picture.height()) <= long {
        return Cow::Borrowed(picture);
    }
    Cow::Owned(shrunk(picture, long))
}

/// [`thumbnail`] in a fraction of the time, for looking at: of a large picture, only three pixels for each of the
/// copy are read along a side.
pub(super) fn glance(picture: &RgbImage, long: u32) -> RgbImage {
    let step = picture.width().max(picture.height()) / (3 * long);
    if step < 2 {
        return thumbnail(picture, long).into_owned();
    }
    thumbnail(&thinned(picture, step), long).into_owned()
}

/// Every so many pixels of every so many rows.
fn thinned(picture: &RgbImage, step: u32) -> RgbImage {
    let (width, height) = (picture.width().div_ceil(step), picture.height().div_ceil(step));
    let mut pixels = Vec::with_capacity(width as usize * height as usize * 3);
    for row in picture.as_raw().chunks_exact(picture.width() as usize * 3).step_by(step as usize) {
        for pixel in row.chunks(3 * step as usize) {
            pixels.extend_from_slice(pixel.get(..3).unwrap_or_default());
        }
    }
    RgbImage::from_raw(width, height, pixels).unwrap_or_default()
}

/// A copy with `long` pixels on the longer side, larger or smaller than the picture.
pub(super) fn shrunk(picture: &RgbImage, long: u32) -> RgbImage {
    let (width, height) = fitted(picture.width(), picture.height(), long);
    let bytes = resized(picture.as_raw(), PixelType::U8x3, picture.dimensions(), (width, height));
    RgbImage::from_raw(width, height, bytes).unwrap_or_default()
}

/// A grey copy with `long` pixels on the longer side, larger or smaller than the picture.
pub(super) fn grey(picture: &RgbImage, long: u32) -> GrayImage {
    let luma = image::imageops::grayscale(picture);
    let (width, height) = fitted(picture.width(), picture.height(), long);
    let bytes = resized(luma.as_raw(), PixelType::U8, luma.dimensions(), (width, height));
    GrayImage::from_raw(width, height, bytes).unwrap_or_default()
}

/// Pixels scaled with a triangle filter as wide as a pixel of the coarser picture; none where there were none.
fn resized(bytes: &[u8], pixel: PixelType, from: (u32, u32), to: (u32, u32)) -> Vec<u8> {
    let mut out = Image::new(to.0, to.1, pixel);
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Bilinear));
    match ImageRef::new(from.0, from.1, bytes, pixel) {
        Ok(source) if Resizer::new().resize(&source, &mut out, &options).is_ok() => out.into_vec(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longer_side_gets_the_pixels_and_no_side_vanishes() {
        assert_eq!(fitted(4000, 3000, 768), (768, 576));
        assert_eq!(fitted(300, 400, 768), (576, 768));
        assert_eq!(fitted(100_000, 1, 768), (768, 1));
        assert_eq!(fitted(1, 1, 768), (768, 768));
    }

    #[test]
    fn small_pictures_are_not_copied_and_a_flat_colour_stays_the_same() {
        let picture = RgbImage::from_pixel(90, 60, image::Rgb([10, 200, 30]));
        assert!(matches!(thumbnail(&picture, 90), Cow::Borrowed(_)));
        let small = thumbnail(&picture, 30);
        assert_eq!(small.dimensions(), (30, 20));
        assert!(small.pixels().all(|pixel| pixel.0 == [10, 200, 30]));
        assert_eq!(grey(&picture, 45).dimensions(), (45, 30));
    }

    #[test]
    fn a_glance_shows_what_a_thumbnail_shows() {
        let picture = RgbImage::from_fn(1000, 700, |x, y| image::Rgb([(x / 4) as u8, (y / 3) as u8, 90]));
        let (glance, slow) = (glance(&picture, 50), thumbnail(&picture, 50).into_owned());
        assert_eq!(glance.dimensions(), (50, 35));
        let worst = glance.as_raw().iter().zip(slow.as_raw()).map(|(a, b)| a.abs_diff(*b)).max();
        assert!(worst.unwrap() <= 4, "{worst:?}");
        assert_eq!(super::glance(&RgbImage::new(1000, 1), 100).dimensions(), (100, 1));
        assert_eq!(super::glance(&RgbImage::new(48, 32), 100).dimensions(), (48, 32));
    }
}
