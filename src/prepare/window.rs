//! The window of a picture that a crop shows.

use super::doubt::Doubt;
use super::focus::Focus;
use super::region::Region;
use crate::dataset::Bucket;
use serde::{Deserialize, Serialize};
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
        write!(f, "is too small: it would have to be enlarged {needed:.2} times, at most {limit:.2} is allowed")
    }
}

/// The size and the window for a `width x height` picture.
///
/// # Errors
/// A picture that would have to be enlarged beyond the limit for every size.
pub fn choose(
    width: u32, height: u32, focus: &Focus, sizes: &[Bucket], limits: &Limits,
) -> Result<Placement, Refusal> {
    let _ = (width, height, focus, sizes);
    Err(Refusal { needed: f64::INFINITY, limit: limits.largest_enlargement })
}
