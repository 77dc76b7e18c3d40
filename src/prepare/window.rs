//! The window of a picture that a crop shows.

use super::doubt::{Doubt, cut_heads, doubts};
use super::focus::{Focus, FocusKind};
use super::region::Region;
use crate::dataset::Bucket;
use serde::{Deserialize, Serialize};
use std::cmp::Ordering;
use std::fmt;

/// How far a picture may be scaled.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    /// The most output pixels per source pixel along a side.
    pub largest_enlargement: f64,
    /// The share of the window's height that the head or region is to fill, 0 to 1; without it, the window is
    /// the largest.
    pub tight: Option<f64>,
}

impl Default for Limits {
    fn default() -> Self {
        Self { largest_enlargement: 1.5, tight: None }
    }
}

/// Where a picture is cropped and to what size.
#[derive(Debug, Clone, PartialEq)]
pub struct Placement {
    /// The size of the crop.
    pub size: Bucket,
    /// What it shows, inside the picture and of exactly the size's aspect ratio.
    pub window: Region,
    /// Pixels of the crop per pixel of the picture.
    pub scale: f64,
    /// The part of the focus that the size was chosen to hold.
    pub kept: Region,
    /// Why this window, in a few words.
    pub reason: String,
    /// What to look at, the gravest first.
    pub doubts: Vec<Doubt>,
}

impl Placement {
    /// How much the crop needs a look, from 0 to 1: more than its gravest doubt if there are several.
    pub fn doubt(&self) -> f64 {
        1.0 - self.doubts.iter().map(|doubt| 1.0 - doubt.weight()).product::<f64>()
    }
}

/// A picture that fits no size.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Refusal {
    /// How far it would have to be enlarged for the size that needs it least; infinite if there is no size.
    pub needed: f64,
    /// How far it may be.
    pub limit: f64,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { needed, limit } = self;
        write!(
            f,
            "is too small: it would have to be enlarged {needed:.2} times, at most {limit:.2} is allowed"
        )
    }
}

/// A coordinate may be off by so many pixels from rounding.
const ROUNDING: f64 = 1e-6;
/// Where in a tight window the middle of a head stands, from the top.
const HEAD_HEIGHT: f64 = 0.4;

/// The size and the window for a `width x height` picture.
///
/// Of the sizes that can hold the focus, it is the one of the nearest aspect ratio (of the logarithm), and the
/// largest window of that ratio, centred on the focus as far as the picture reaches. Of a focus that no size can
/// hold, the parts are kept that fit together, the most important first.
///
/// # Errors
/// A picture that would have to be enlarged beyond the limit for every size.
pub fn choose(
    width: u32,
    height: u32,
    focus: &Focus,
    sizes: &[Bucket],
    limits: &Limits,
) -> Result<Placement, Refusal> {
    let picture = Region::whole(width, height);
    let usable = within_limit(picture, sizes, limits)?;
    let kept = keepable(picture, focus, &usable);
    let best = usable.iter().filter(|&&size| holds(picture, size, &kept));
    let best = best.min_by(|a, b| by_fitness(picture, **a, **b));
    // A focus that no size can hold is kept as far as the nearest size goes.
    let size = best.or_else(|| usable.iter().min_by(|a, b| by_fitness(picture, **a, **b)));
    let Some(&size) = size else {
        return Err(Refusal { needed: f64::INFINITY, limit: limits.largest_enlargement });
    };
    let extent = extent(picture, size, &kept, limits);
    let window = place(picture, extent, focus, &kept, limits.tight.is_some());
    let scale = size.width as f64 / window.width;
    let doubts = doubts(picture, focus, &window, scale);
    Ok(Placement { size, window, scale, kept, reason: reason(focus, &window), doubts })
}

/// The sizes for which the picture need not be enlarged beyond the limit.
fn within_limit(picture: Region, sizes: &[Bucket], limits: &Limits) -> Result<Vec<Bucket>, Refusal> {
    let real = sizes.iter().copied().filter(|size| size.width > 0 && size.height > 0);
    let scaled: Vec<(Bucket, f64)> = real.map(|size| (size, enlargement(picture, size))).collect();
    let limit = limits.largest_enlargement;
    let usable: Vec<Bucket> =
        scaled.iter().filter(|(_, scale)| *scale <= limit + ROUNDING).map(|(size, _)| *size).collect();
    if usable.is_empty() {
        let needed = scaled.iter().map(|(_, scale)| *scale).fold(f64::INFINITY, f64::min);
        return Err(Refusal { needed, limit });
    }
    Ok(usable)
}

/// Output pixels per picture pixel for the largest window.
fn enlargement(picture: Region, size: Bucket) -> f64 {
    (size.width as f64 / picture.width).max(size.height as f64 / picture.height)
}

/// The largest window of a size's aspect ratio.
fn largest(picture: Region, size: Bucket) -> (f64, f64) {
    let (across, down) = (size.width as f64, size.height as f64);
    if picture.width * down > picture.height * across {
        (picture.height * across / down, picture.height)
    } else {
        (picture.width, picture.width * down / across)
    }
}

/// Whether the largest window of a size is large enough for `region`.
fn holds(picture: Region, size: Bucket, region: &Region) -> bool {
    let (width, height) = largest(picture, size);
    region.width <= width + ROUNDING && region.height <= height + ROUNDING
}

/// The rectangle around the parts of the focus that some size holds together. Of a focus whose first part is too
/// large for all sizes, it is that part.
fn keepable(picture: Region, focus: &Focus, sizes: &[Bucket]) -> Region {
    let fits = |region: &Region| sizes.iter().any(|&size| holds(picture, size, region));
    let inside = |part: &Region| part.intersection(&picture);
    let mut kept: Option<Region> = None;
    for part in focus.parts.iter().map(inside) {
        let with = kept.map_or(part, |kept| kept.union(&part));
        if fits(&with) {
            kept = Some(with);
        }
    }
    kept.or(focus.parts.first().map(inside)).unwrap_or(Region::at(picture.centre()))
}

/// The size of the nearer aspect ratio comes first; of one ratio the largest that is not enlarged, else the
/// smallest.
fn by_fitness(picture: Region, a: Bucket, b: Bucket) -> Ordering {
    let wanted = (picture.width / picture.height).ln();
    let distance = |size: Bucket| (size.aspect().ln() - wanted).abs();
    let scale = |size: Bucket| enlargement(picture, size);
    let enlarged = |size: Bucket| scale(size) > 1.0 + ROUNDING;
    let by_scale = if enlarged(a) { scale(a).total_cmp(&scale(b)) } else { scale(b).total_cmp(&scale(a)) };
    distance(a).total_cmp(&distance(b)).then(enlarged(a).cmp(&enlarged(b))).then(by_scale)
}

/// Width and height of the window: the largest, or for a tight crop the one that what is kept fills to the wanted
/// share, but never so small that it would be enlarged for that alone, or that something would be cut.
fn extent(picture: Region, size: Bucket, kept: &Region, limits: &Limits) -> (f64, f64) {
    let (width, height) = largest(picture, size);
    let Some(share) = limits.tight.filter(|share| *share > 0.0 && kept.area() > 0.0) else {
        return (width, height);
    };
    let (across, down) = (size.width as f64, size.height as f64);
    let needed = (kept.height / share.min(1.0)).max(kept.width * down / across).max(down);
    if needed >= height { (width, height) } else { (needed * across / down, needed) }
}

/// The window of an extent, centred on the focus, moved so that it holds what is kept and lies in the picture.
fn place(picture: Region, (width, height): (f64, f64), focus: &Focus, kept: &Region, tight: bool) -> Region {
    let centre = match focus.kind {
        FocusKind::Face => kept.centre(),
        FocusKind::Saliency | FocusKind::Centre | FocusKind::Given => focus.point,
    };
    let above = if tight && focus.kind == FocusKind::Face { HEAD_HEIGHT } else { 0.5 };
    let x = start(centre.x - 0.5 * width, width, (kept.x, kept.right()), picture.width);
    let y = start(centre.y - above * height, height, (kept.y, kept.bottom()), picture.height);
    Region { x, y, width, height }
}

/// Where a window of `length` starts on a side of the picture: at `wanted` unless it must move to hold `kept`; in
/// the middle of `kept` if it cannot.
fn start(wanted: f64, length: f64, (first, last): (f64, f64), side: f64) -> f64 {
    let (lowest, highest) = (last - length, first);
    let holding = if lowest <= highest { wanted.clamp(lowest, highest) } else { (lowest + highest) / 2.0 };
    holding.clamp(0.0, (side - length).max(0.0))
}

/// What the window was centred on.
fn reason(focus: &Focus, window: &Region) -> String {
    match (focus.kind, focus.faces.len()) {
        (FocusKind::Face, 1) => "a face".to_owned(),
        (FocusKind::Face, faces) => match faces - cut_heads(focus, window).min(faces) {
            kept if kept == faces => format!("{faces} faces"),
            kept => format!("{} of {faces} faces", kept.max(1)),
        },
        (FocusKind::Saliency, _) => "what stands out".to_owned(),
        (FocusKind::Centre, _) => "the middle".to_owned(),
        (FocusKind::Given, _) => "a given region".to_owned(),
    }
}

#[cfg(test)]
mod tests;
