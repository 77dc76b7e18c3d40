//! What catches the eye: a map of how far each place stands out, and where the map is highest.
//!
//! Two maps are blended. Maximum symmetric surround (Achanta and Süsstrunk, "Saliency detection using maximum
//! symmetric surround", ICIP 2010) fills whole things of another colour than their surroundings; the spectral
//! residual (Hou and Zhang, "Saliency detection: a spectral residual approach", CVPR 2007) finds outlines and small
//! things.

mod colour;
mod map;
mod peaks;
mod residual;
mod surround;

use super::region::{Point, Region};
use super::thumbnail;
use image::RgbImage;
use map::Map;

/// The longer side of the map in pixels.
const LONG_SIDE: u32 = 128;
/// The longer side in pixels at which the spectral residual is taken.
const RESIDUAL_SIDE: u32 = 64;
/// How little of a map's values the corners keep: authors put subjects near the middle more often than not.
const PRIOR_FLOOR: f64 = 0.7;
/// Twice the variance of the prior's bell, in squared sides of the picture.
const PRIOR_SPREAD: f64 = 0.18;

/// What stands out, in the pixels of the picture.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Salient {
    /// The middle of the highest places.
    pub(super) point: Point,
    /// The regions that stand out, the heaviest first; the first is the core of the second.
    pub(super) parts: Vec<Region>,
    /// How much of the map lies in its highest places: 0 for a map that is level, 1 if nothing lies elsewhere.
    pub(super) certainty: f64,
}

/// What stands out in `picture`; nothing in a flat one.
pub(super) fn salient(picture: &RgbImage) -> Option<Salient> {
    let map = map(picture)?;
    let peaks = peaks::peaks(&map)?;
    let across = f64::from(picture.width()) / map.width as f64;
    let down = f64::from(picture.height()) / map.height as f64;
    Some(Salient {
        point: Point { x: peaks.point.x * across, y: peaks.point.y * down },
        parts: peaks.parts.iter().map(|part| part.scaled(across, down)).collect(),
        certainty: peaks.certainty,
    })
}

/// The blended map, `long side 128`; nothing if no place stands out.
fn map(picture: &RgbImage) -> Option<Map> {
    let small = thumbnail::shrunk(picture, LONG_SIDE);
    let surround = surround::map(&small).relative()?;
    let residual = residual::map(&thumbnail::grey(&small, RESIDUAL_SIDE)).relative();
    let blended = match residual {
        Some(residual) => residual.resized(surround.width, surround.height).plus(&surround),
        None => surround,
    };
    Some(blended.weighted(prior))
}

/// The weak preference for the middle; `u` and `v` run from -0.5 to 0.5.
fn prior(u: f64, v: f64) -> f64 {
    PRIOR_FLOOR + (1.0 - PRIOR_FLOOR) * (-(u * u + v * v) / PRIOR_SPREAD).exp()
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::Rgb;

    #[test]
    fn a_flat_picture_has_nothing_that_stands_out() {
        for (width, height) in [(1, 1), (1, 700), (300, 2), (64, 64), (800, 600)] {
            for value in [0, 127, 255] {
                let picture = RgbImage::from_pixel(width, height, Rgb([value, value, 255 - value]));
                assert_eq!(salient(&picture), None, "{width}x{height} of {value}");
            }
        }
    }

    #[test]
    fn a_spot_is_found_where_it_is_and_in_its_mirror_image() {
        let picture = RgbImage::from_fn(400, 300, |x, y| {
            let (dx, dy) = (f64::from(x) - 290.0, f64::from(y) - 90.0);
            if dx.hypot(dy) < 35.0 { Rgb([220, 50, 40]) } else { Rgb([60, 120, 160 + (y / 10) as u8]) }
        });
        let found = salient(&picture).unwrap();
        assert!((found.point.x - 290.0).hypot(found.point.y - 90.0) < 40.0, "{:?}", found.point);
        let spot = Region { x: 255.0, y: 55.0, width: 70.0, height: 70.0 };
        assert!(found.parts[1].intersection(&spot).area() > 0.95 * spot.area(), "{:?}", found.parts);
        let mirrored = salient(&image::imageops::flip_horizontal(&picture)).unwrap();
        assert!((mirrored.point.x - (400.0 - found.point.x)).abs() < 2.0);
        assert!((mirrored.point.y - found.point.y).abs() < 2.0);
    }

    #[test]
    fn noise_and_extreme_shapes_give_places_inside_the_picture_and_no_certainty() {
        let stream = crate::random::Stream::new(3, crate::random::Purpose::Noise, 0, 0, 0);
        for (width, height) in [(2, 1), (1, 500), (2000, 3), (97, 61), (512, 512)] {
            let picture = RgbImage::from_fn(width, height, |x, y| {
                Rgb(stream.word((y * width + x) as usize).to_le_bytes()[..3].try_into().unwrap())
            });
            let Some(found) = salient(&picture) else { continue };
            let whole = Region::whole(width, height);
            assert!(whole.contains(&Region::at(found.point), 1e-9), "{width}x{height}: {:?}", found.point);
            assert!(found.parts.iter().all(|part| whole.contains(part, 1e-9) && part.area() > 0.0));
            assert!((0.0..=1.0).contains(&found.certainty));
            if width.min(height) >= 512 {
                assert!(found.certainty < 0.15, "{}", found.certainty);
            }
        }
    }
}
