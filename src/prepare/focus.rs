//! What a picture is about.

use super::face::{Face, faces_above};
use super::region::{Point, Region};
use super::saliency::{Salient, salient};
use super::thumbnail::thumbnail;
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
    /// Nothing, or nothing was looked for: the middle of the picture.
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
    /// The middle of a picture, as the user wants it.
    pub fn centre(width: u32, height: u32) -> Self {
        Self::single(FocusKind::Centre, Region::at(Region::whole(width, height).centre()))
    }

    /// The middle of a picture in which nothing was found.
    fn nothing(width: u32, height: u32) -> Self {
        Self { certainty: 0.0, ..Self::centre(width, height) }
    }

    /// A region that the user chose.
    pub fn given(region: Region) -> Self {
        Self::single(FocusKind::Given, region)
    }

    /// Faces, the largest first; nothing without one.
    ///
    /// Of a head that is larger than every window, the face may fit.
    fn on_faces(faces: Vec<Face>, threshold: f64) -> Option<Self> {
        let first = faces.first()?;
        let certainty = (1.0 - threshold / first.score).clamp(0.0, 1.0);
        let parts: Vec<Region> = faces.iter().flat_map(Face::parts).collect();
        let region = around(&parts)?;
        Some(Self { parts, faces, certainty, ..Self::single(FocusKind::Face, region) })
    }

    /// Regions that stand out.
    fn on_salient(Salient { point, parts, certainty }: Salient) -> Self {
        let region = around(&parts).unwrap_or(Region::at(point));
        Self { parts, point, certainty, ..Self::single(FocusKind::Saliency, region) }
    }

    /// The same focus in a picture that is larger by these factors.
    fn scaled(mut self, across: f64, down: f64) -> Self {
        let larger = |region: &mut Region| *region = region.scaled(across, down);
        larger(&mut self.region);
        self.parts.iter_mut().for_each(larger);
        for face in &mut self.faces {
            [&mut face.region, &mut face.crowned, &mut face.head].into_iter().for_each(larger);
        }
        self.point = Point { x: self.point.x * across, y: self.point.y * down };
        self
    }

    /// One region.
    fn single(kind: FocusKind, region: Region) -> Self {
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

/// The longer side in pixels of the copy that is looked at.
const LONG_SIDE: u32 = 1920;
/// A detection that is no face but has this score is kept in the crop where that costs nothing.
const WEAK_FACE: f64 = 2.0;

/// What `picture` is about; faces count from `threshold` upward ([`super::THRESHOLD`] unless the user says
/// otherwise).
///
/// The picture must be upright. It works on a copy of at most 1920 pixels a side.
pub fn find(picture: &RgbImage, mode: FocusMode, threshold: f64) -> Focus {
    let (width, height) = picture.dimensions();
    if mode == FocusMode::Centre || width == 0 || height == 0 {
        return Focus::centre(width, height);
    }
    let small = thumbnail(picture, LONG_SIDE);
    let across = f64::from(width) / f64::from(small.width());
    let down = f64::from(height) / f64::from(small.height());
    look(&small, mode, threshold).scaled(across, down)
}

/// What the copy shows, in its pixels.
fn look(picture: &RgbImage, mode: FocusMode, threshold: f64) -> Focus {
    let (faces, weak) = match mode {
        FocusMode::Auto | FocusMode::Face => faces_above(picture, threshold, WEAK_FACE),
        FocusMode::Saliency | FocusMode::Centre => (Vec::new(), Vec::new()),
    };
    if let Some(focus) = Focus::on_faces(faces, threshold) {
        return focus;
    }
    let salient = match mode {
        FocusMode::Auto | FocusMode::Saliency => salient(picture),
        FocusMode::Face | FocusMode::Centre => None,
    };
    let mut focus = match salient {
        Some(salient) => Focus::on_salient(salient),
        None => Focus::nothing(picture.width(), picture.height()),
    };
    focus.parts.extend(weak.iter().map(|face| face.head));
    focus.passed_over = weak.iter().map(|face| face.score).reduce(f64::max);
    focus
}

/// The smallest rectangle around all of `parts`.
fn around(parts: &[Region]) -> Option<Region> {
    parts.iter().copied().reduce(|all, part| all.union(&part))
}
