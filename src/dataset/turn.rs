//! Turned pictures without empty corners.

use super::buckets::Bucket;
use super::crop::{Crop, Filter, resample};
use fast_image_resize::ResizeError;
use image::RgbImage;

/// The largest window of the shape of `window`, no larger, that lies in a picture of `size` when it is turned by
/// `degrees` about its centre; the centre moves no more than that takes.
pub(super) fn window_inside(size: (u32, u32), window: &Crop, degrees: f64) -> Crop {
    if degrees == 0.0 {
        return *window;
    }
    let (width, height) = (f64::from(size.0), f64::from(size.1));
    let (across, down) = extent(window, degrees);
    let scale = (width / across).min(height / down).min(1.0);
    let (across, down) = (across * scale, down * scale);
    let centre = |start: f64, length: f64, extent: f64, side: f64| {
        (start + length / 2.0).min(side - extent / 2.0).max(extent / 2.0)
    };
    let x = centre(window.x, window.width, across, width);
    let y = centre(window.y, window.height, down, height);
    let (wide, high) = (window.width * scale, window.height * scale);
    Crop { x: x - wide / 2.0, y: y - high / 2.0, width: wide, height: high }
}

/// Width and height of the upright box around `window` turned by `degrees`.
fn extent(window: &Crop, degrees: f64) -> (f64, f64) {
    let (sin, cos) = degrees.to_radians().sin_cos();
    let (sin, cos) = (sin.abs(), cos.abs());
    (window.width * cos + window.height * sin, window.width * sin + window.height * cos)
}

/// What `window` shows when the picture is turned clockwise by `degrees` about the window's centre, at the size of
/// `bucket`: the box around the turned window is scaled with Lanczos3, then turned by bicubic interpolation.
pub(super) fn resample_turned(
    picture: &RgbImage,
    window: &Crop,
    degrees: f64,
    bucket: Bucket,
) -> Result<RgbImage, ResizeError> {
    let (across, down) = extent(window, degrees);
    let (centre_x, centre_y) = (window.x + window.width / 2.0, window.y + window.height / 2.0);
    let around = Crop { x: centre_x - across / 2.0, y: centre_y - down / 2.0, width: across, height: down };
    let step = (window.width / bucket.width as f64, window.height / bucket.height as f64);
    let box_size =
        Bucket { width: (across / step.0).ceil() as usize, height: (down / step.1).ceil() as usize };
    let scaled = resample(picture, &around, box_size, Filter::Lanczos)?;
    let (sin, cos) = degrees.to_radians().sin_cos();
    let to_box = (box_size.width as f64 / across, box_size.height as f64 / down);
    let at = |x: u32, y: u32| {
        let u = (f64::from(x) + 0.5 - bucket.width as f64 / 2.0) * step.0;
        let v = (f64::from(y) + 0.5 - bucket.height as f64 / 2.0) * step.1;
        let (u, v) = (u * cos + v * sin, v * cos - u * sin);
        interpolate(&scaled, (u + across / 2.0) * to_box.0 - 0.5, (v + down / 2.0) * to_box.1 - 0.5)
    };
    Ok(RgbImage::from_fn(bucket.width as u32, bucket.height as u32, at))
}

/// The colour at a place between pixel centres, by Catmull-Rom splines; beyond the edge, the edge goes on.
fn interpolate(picture: &RgbImage, x: f64, y: f64) -> image::Rgb<u8> {
    let (columns, rows) = (weights(x - x.floor()), weights(y - y.floor()));
    let inside = |place: f64, offset: usize, side: u32| {
        (place.floor() as i64 + offset as i64 - 1).clamp(0, i64::from(side) - 1) as u32
    };
    let mut sum = [0.0f64; 3];
    for (j, row) in rows.iter().enumerate() {
        for (i, column) in columns.iter().enumerate() {
            let pixel = picture.get_pixel(inside(x, i, picture.width()), inside(y, j, picture.height()));
            (0..3).for_each(|c| sum[c] += row * column * f64::from(pixel.0[c]));
        }
    }
    image::Rgb(sum.map(|value| value.round().clamp(0.0, 255.0) as u8))
}

/// Weights of the four pixels around a place that lies `t` after the second of them (Keys' cubic with a = -1/2).
fn weights(t: f64) -> [f64; 4] {
    let (t2, t3) = (t * t, t * t * t);
    [
        (-t3 + 2.0 * t2 - t) / 2.0,
        (3.0 * t3 - 5.0 * t2 + 2.0) / 2.0,
        (-3.0 * t3 + 4.0 * t2 + t) / 2.0,
        (t3 - t2) / 2.0,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A picture whose red and green tell the place.
    fn places(width: u32, height: u32) -> RgbImage {
        RgbImage::from_fn(width, height, |x, y| image::Rgb([x as u8, y as u8, 100]))
    }

    #[test]
    fn a_turned_picture_shows_what_lies_there() {
        let (picture, bucket) = (places(240, 200), Bucket { width: 80, height: 64 });
        let window = Crop { x: 60.0, y: 50.0, width: 120.0, height: 96.0 };
        for degrees in [-12.0f64, 7.5, 30.0] {
            let shown = resample_turned(&picture, &window, degrees, bucket).unwrap();
            let angle = degrees.to_radians();
            for (x, y) in [(0u32, 0u32), (79, 0), (0, 63), (79, 63), (40, 32), (13, 50)] {
                // What is shown right of the centre comes from above right of it when turned clockwise.
                let u = (f64::from(x) + 0.5 - 40.0) * 1.5;
                let v = (f64::from(y) + 0.5 - 32.0) * 1.5;
                let expected = [
                    120.0 + u * angle.cos() + v * angle.sin() - 0.5,
                    98.0 - u * angle.sin() + v * angle.cos() - 0.5,
                    100.0,
                ];
                let found = shown.get_pixel(x, y).0;
                let near = found.iter().zip(expected).all(|(&f, e)| (f64::from(f) - e).abs() <= 1.5);
                assert!(near, "{degrees} degrees at {x},{y}: {found:?} instead of {expected:?}");
            }
        }
    }

    #[test]
    fn a_square_turned_by_a_right_angle_half_is_smaller_by_the_root_of_two() {
        let all = Crop { x: 0.0, y: 0.0, width: 100.0, height: 100.0 };
        let inside = window_inside((100, 100), &all, 45.0);
        assert!((inside.width - 100.0 / 2f64.sqrt()).abs() < 1e-9 && (inside.x - 14.644_660_9).abs() < 1e-6);
        assert_eq!(window_inside((100, 100), &all, 0.0), all);
    }

    proptest! {
        #[test]
        fn corners_are_never_empty(
            width in 2u32..4000, height in 2u32..4000, degrees in -45.0f64..45.0,
            share in 0.1f64..1.0, across in 0.0f64..1.0, down in 0.0f64..1.0,
        ) {
            let (w, h) = (f64::from(width), f64::from(height));
            let window = Crop {
                x: across * (w - share * w),
                y: down * (h - share * h),
                width: share * w,
                height: share * h,
            };
            let inside = window_inside((width, height), &window, degrees);
            let (sin, cos) = degrees.to_radians().sin_cos();
            let (x, y) = (inside.x + inside.width / 2.0, inside.y + inside.height / 2.0);
            for (i, j) in [(-0.5, -0.5), (0.5, -0.5), (-0.5, 0.5), (0.5, 0.5)] {
                let (u, v) = (i * inside.width, j * inside.height);
                let (u, v) = (x + u * cos + v * sin, y - u * sin + v * cos);
                prop_assert!(u >= -1e-6 && u <= w + 1e-6 && v >= -1e-6 && v <= h + 1e-6);
            }
            prop_assert!((inside.width / inside.height / (w / h) - 1.0).abs() < 1e-9);
            prop_assert!(inside.width <= window.width * (1.0 + 1e-12));
        }
    }
}
