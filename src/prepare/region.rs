//! Rectangles and points in the coordinates of the upright picture.

use crate::dataset::Crop;
use serde::{Deserialize, Serialize};

/// A place in a picture, in pixels from its upper left corner.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// Pixels to the right.
    pub x: f64,
    /// Pixels downward.
    pub y: f64,
}

/// A rectangle, in pixels of the upright picture.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Region {
    /// Left edge.
    pub x: f64,
    /// Upper edge.
    pub y: f64,
    /// Extent to the right.
    pub width: f64,
    /// Extent downward.
    pub height: f64,
}

impl Region {
    /// A whole picture.
    pub fn whole(width: u32, height: u32) -> Self {
        Self { x: 0.0, y: 0.0, width: f64::from(width), height: f64::from(height) }
    }

    /// The rectangle between two corners; one of no extent where they lie the wrong way round.
    pub fn between(left: f64, top: f64, right: f64, bottom: f64) -> Self {
        Self { x: left, y: top, width: (right - left).max(0.0), height: (bottom - top).max(0.0) }
    }

    /// The rectangle of no extent at `point`.
    pub fn at(point: Point) -> Self {
        Self { x: point.x, y: point.y, width: 0.0, height: 0.0 }
    }

    /// Right edge.
    pub fn right(&self) -> f64 {
        self.x + self.width
    }

    /// Lower edge.
    pub fn bottom(&self) -> f64 {
        self.y + self.height
    }

    /// The middle.
    pub fn centre(&self) -> Point {
        Point { x: self.x + self.width / 2.0, y: self.y + self.height / 2.0 }
    }

    /// Square pixels.
    pub fn area(&self) -> f64 {
        self.width * self.height
    }

    /// The smallest rectangle around both.
    pub fn union(&self, other: &Self) -> Self {
        Self::between(
            self.x.min(other.x),
            self.y.min(other.y),
            self.right().max(other.right()),
            self.bottom().max(other.bottom()),
        )
    }

    /// What both share; of no extent if that is nothing.
    pub fn intersection(&self, other: &Self) -> Self {
        Self::between(
            self.x.max(other.x),
            self.y.max(other.y),
            self.right().min(other.right()),
            self.bottom().min(other.bottom()),
        )
    }

    /// Whether `other` lies inside, but for `slack` pixels on each side.
    pub fn contains(&self, other: &Self, slack: f64) -> bool {
        other.x >= self.x - slack
            && other.y >= self.y - slack
            && other.right() <= self.right() + slack
            && other.bottom() <= self.bottom() + slack
    }

    /// The rectangle with every coordinate multiplied: from the pixels of a picture to those of a scaled copy.
    pub fn scaled(&self, across: f64, down: f64) -> Self {
        Self { x: self.x * across, y: self.y * down, width: self.width * across, height: self.height * down }
    }
}

impl From<Region> for Crop {
    fn from(region: Region) -> Self {
        Self { x: region.x, y: region.y, width: region.width, height: region.height }
    }
}
