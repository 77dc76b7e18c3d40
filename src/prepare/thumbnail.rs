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
}
