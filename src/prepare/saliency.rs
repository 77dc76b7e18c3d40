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
mod tests;
