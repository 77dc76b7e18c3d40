//! The part of a picture that a bucket shows, and its pixels.

use super::buckets::Bucket;
use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeError, ResizeOptions, Resizer};
use image::RgbImage;
use serde::Serialize;

/// A rectangle in the coordinates of the upright picture, in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Crop {
    /// Left edge.
    pub x: f64,
    /// Upper edge.
    pub y: f64,
    /// Extent to the right.
    pub width: f64,
    /// Extent downward.
    pub height: f64,
}

impl Crop {
    /// The middle of a `width x height` picture that fills `bucket`.
    ///
    /// It is what Pillow shows after scaling the picture to cover the bucket, rounding to whole pixels and
    /// cutting the bucket out of the middle at a whole pixel.
    pub fn centred(width: u32, height: u32, bucket: Bucket) -> Self {
        let scale = (bucket.width as f64 / f64::from(width)).max(bucket.height as f64 / f64::from(height));
        let (x, width) = centred_span(width, bucket.width, scale);
        let (y, height) = centred_span(height, bucket.height, scale);
        Self { x, y, width, height }
    }
}

/// Start and extent, in source pixels, of the middle `shown` pixels of a side that is scaled by `scale`.
fn centred_span(side: u32, shown: usize, scale: f64) -> (f64, f64) {
    let scaled = ((f64::from(side) * scale).round_ties_even() as usize).max(shown);
    let start = (scaled - shown) / 2;
    let in_source = |length: usize| f64::from(side) * length as f64 / scaled as f64;
    (in_source(start), in_source(shown))
}

/// A picture of a bucket's size as the VAE takes it.
#[derive(Debug, Clone, PartialEq)]
pub struct Pixels {
    /// Pixels from left to right.
    pub width: usize,
    /// Pixels from top to bottom.
    pub height: usize,
    /// `[3, height, width]`: red, green and blue planes, `value / 127.5 - 1`.
    pub data: Vec<f32>,
}

impl Pixels {
    /// The planes of an 8-bit picture.
    pub fn from_rgb(picture: &RgbImage) -> Self {
        let (width, height) = (picture.width() as usize, picture.height() as usize);
        let bytes = picture.as_raw();
        let plane =
            |channel: usize| bytes.iter().skip(channel).step_by(3).map(|&v| f32::from(v) / 127.5 - 1.0);
        let data = (0..3).flat_map(plane).collect();
        Self { width, height, data }
    }
}

/// How the pixels of a crop follow from those of the picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Filter {
    /// Lanczos of three lobes: sharp.
    #[default]
    Lanczos,
    /// The mean over the area of a pixel: soft, without ringing. Where a picture is enlarged, it repeats pixels.
    Area,
}

/// Cuts `crop` out of `picture` and scales it to `bucket`, on one thread.
///
/// Rows come first, then columns, as in Pillow: bytes cannot hold Lanczos' overshoot at edges, so the order
/// shows.
///
/// # Errors
/// A crop that reaches beyond the picture.
pub fn resample(
    picture: &RgbImage,
    crop: &Crop,
    bucket: Bucket,
    filter: Filter,
) -> Result<RgbImage, ResizeError> {
    let (width, height) = (bucket.width as u32, bucket.height as u32);
    let rows = Crop { y: 0.0, height: f64::from(picture.height()), ..*crop };
    let columns = Crop { x: 0.0, width: f64::from(width), ..*crop };
    let narrow = along_one_side(picture, &rows, (width, picture.height()), filter)?;
    along_one_side(&narrow, &columns, (width, height), filter)
}

/// One call of the resizer, which leaves alone a side that keeps its pixels.
fn along_one_side(
    picture: &RgbImage,
    crop: &Crop,
    (width, height): (u32, u32),
    filter: Filter,
) -> Result<RgbImage, ResizeError> {
    let filter = match filter {
        Filter::Lanczos => FilterType::Lanczos3,
        Filter::Area => FilterType::Box,
    };
    let mut out = Image::new(width, height, PixelType::U8x3);
    // A buffer of another size than its picture's cannot come from the image crate.
    if let Ok(source) =
        ImageRef::new(picture.width(), picture.height(), picture.as_raw().as_slice(), PixelType::U8x3)
    {
        // A window that touches an edge may lie beyond it by the last bit.
        let (x, y) = (crop.x.max(0.0), crop.y.max(0.0));
        let across = crop.width.min(f64::from(picture.width()) - x);
        let down = crop.height.min(f64::from(picture.height()) - y);
        let options =
            ResizeOptions::new().crop(x, y, across, down).resize_alg(ResizeAlg::Convolution(filter));
        Resizer::new().resize(&source, &mut out, &options)?;
    }
    Ok(RgbImage::from_raw(width, height, out.into_vec()).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::{bucket_for, buckets_at};
    use proptest::prelude::*;

    /// Smooth in red and green, hard edges in blue; `EXPECTED` holds what Pillow 13 makes of the same formulas.
    fn drawing(width: u32, height: u32) -> RgbImage {
        let byte = |v: f64| v.round() as u8;
        RgbImage::from_fn(width, height, |x, y| {
            let (x, y) = (f64::from(x), f64::from(y));
            image::Rgb([
                byte(255.0 * x / f64::from(width - 1)),
                byte(255.0 * y / f64::from(height - 1)),
                byte(255.0 * ((x / 7.0).floor() + (y / 5.0).floor()).rem_euclid(2.0)),
            ])
        })
    }

    #[test]
    fn the_middle_is_cut_as_pillow_cuts_it() {
        let crop = Crop::centred(200, 160, Bucket { width: 144, height: 112 });
        // Scaled by 0.72 to 144x115, of which one row is cut above and two below.
        assert_eq!(crop, Crop { x: 0.0, y: 160.0 / 115.0, width: 200.0, height: 160.0 * 112.0 / 115.0 });
    }

    #[test]
    fn planes_hold_values_from_minus_one_to_one() {
        let picture = RgbImage::from_raw(2, 1, vec![0, 51, 255, 255, 0, 102]).unwrap();
        let pixels = Pixels::from_rgb(&picture);
        assert_eq!((pixels.width, pixels.height), (2, 1));
        assert_eq!(pixels.data, [-1.0, 1.0, 51.0 / 127.5 - 1.0, -1.0, 1.0, 102.0 / 127.5 - 1.0]);
    }

    #[test]
    fn pixels_agree_with_pillow() {
        for (width, height, bucket, expected) in EXPECTED {
            let bucket = Bucket { width: bucket.0, height: bucket.1 };
            let out = resample(
                &drawing(width, height),
                &Crop::centred(width, height, bucket),
                bucket,
                Filter::Lanczos,
            )
            .unwrap();
            for (x, y, rgb) in expected {
                let ours = out.get_pixel(x, y).0;
                for channel in 0..3 {
                    let difference = i32::from(ours[channel]) - rgb[channel];
                    assert!(difference.abs() <= 1, "{width}x{height} at {x},{y}: {ours:?}, Pillow {rgb:?}");
                }
            }
        }
    }

    type Probe = (u32, u32, [i32; 3]);
    type Case = (u32, u32, (usize, usize), [Probe; 6]);

    /// Source size, bucket, and pixels of `crop(resize(..., LANCZOS))` in Pillow.
    const EXPECTED: [Case; 4] = [
        (
            200,
            160,
            (144, 112),
            [
                (0, 0, [0, 3, 5]),
                (143, 0, [255, 3, 7]),
                (0, 111, [0, 250, 255]),
                (143, 111, [255, 250, 255]),
                (72, 37, [128, 85, 0]),
                (28, 84, [50, 190, 0]),
            ],
        ),
        (
            150,
            300,
            (96, 176),
            [
                (0, 0, [1, 11, 0]),
                (95, 0, [254, 11, 255]),
                (0, 175, [1, 244, 255]),
                (95, 175, [254, 244, 0]),
                (48, 58, [129, 88, 0]),
                (19, 132, [51, 187, 205]),
            ],
        ),
        (
            97,
            61,
            (160, 112),
            [
                (0, 0, [12, 0, 8]),
                (159, 0, [243, 0, 255]),
                (0, 111, [12, 255, 0]),
                (159, 111, [243, 255, 255]),
                (80, 37, [129, 85, 67]),
                (32, 84, [58, 194, 0]),
            ],
        ),
        (
            640,
            480,
            (144, 112),
            [
                (0, 0, [4, 1, 255]),
                (143, 0, [249, 1, 255]),
                (0, 111, [4, 254, 0]),
                (143, 111, [249, 254, 0]),
                (72, 37, [127, 85, 180]),
                (28, 84, [52, 193, 10]),
            ],
        ),
    ];

    proptest! {
        #[test]
        fn a_crop_lies_in_the_picture_and_does_not_distort(
            width in 1u32..6000, height in 1u32..6000, resolution in prop::sample::select(vec![128usize, 512, 1024]),
        ) {
            let buckets = buckets_at(resolution).unwrap();
            let bucket = bucket_for(width as usize, height as usize, &buckets).unwrap();
            let crop = Crop::centred(width, height, bucket);
            prop_assert!(crop.x >= 0.0 && crop.y >= 0.0 && crop.width > 0.0 && crop.height > 0.0);
            prop_assert!(crop.x + crop.width <= f64::from(width));
            prop_assert!(crop.y + crop.height <= f64::from(height));
            let (across, down) = (bucket.width as f64 / crop.width, bucket.height as f64 / crop.height);
            // Scaled sides are whole pixels, so the two scales differ by half a pixel of a bucket's side.
            let rounding = 0.5 / bucket.width.min(bucket.height) as f64;
            prop_assert!((across / down - 1.0).abs() <= rounding * 1.01, "{across} across, {down} down");
            let (left, right) = (crop.x, f64::from(width) - crop.x - crop.width);
            prop_assert!((right - left) * across <= 1.0 + 1e-6 && right >= left - 1e-6);
        }
    }
}
