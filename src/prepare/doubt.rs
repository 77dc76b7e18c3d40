//! Reasons to look at a crop before training on it.

use super::focus::{Focus, FocusKind};
use super::region::Region;
use serde::{Deserialize, Serialize};
use std::fmt;

/// One reason; [`Doubt::weight`] sorts crops by how much they need a look.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Doubt {
    /// What the picture is about does not fit any size; so much of its area is kept (0 to 1).
    FocusCut(f64),
    /// Heads that are cut or left out, of so many.
    HeadsCut {
        /// Heads that are not whole in the crop.
        cut: usize,
        /// Heads in the picture.
        of: usize,
    },
    /// The crop has so many times the pixels of the picture along a side.
    Enlarged(f64),
    /// Neither a face nor a salient region was found: the crop is the middle.
    NothingFound,
    /// A face was found but its score is just above the threshold.
    UncertainFace(f64),
    /// Something like a face was found, with a score below the threshold.
    FacePassedOver(f64),
    /// The largest face is so small a part of the crop's height (0 to 1).
    SmallFace(f64),
    /// What catches the eye is spread over the picture; the certainty (0 to 1).
    Diffuse(f64),
    /// The focus touches an edge of the picture.
    AtEdge,
}

impl Doubt {
    /// How much a crop with this doubt needs a look, from 0 to 1.
    pub fn weight(&self) -> f64 {
        match *self {
            Self::FocusCut(kept) => 0.3 + 0.6 * (1.0 - kept),
            Self::HeadsCut { cut, of } => 0.5 + 0.4 * cut as f64 / of.max(1) as f64,
            Self::Enlarged(scale) => 0.4 + 0.6 * (1.0 - 1.0 / scale.max(1.0)),
            Self::NothingFound => 0.7,
            Self::UncertainFace(_) => 0.5,
            Self::FacePassedOver(_) => 0.35,
            Self::SmallFace(_) => 0.45,
            Self::Diffuse(certainty) => 0.4 * (1.0 - certainty),
            Self::AtEdge => 0.3,
        }
    }
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::FocusCut(kept) => write!(f, "the focus is cut: {:.0} % of it is kept", 100.0 * kept),
            Self::HeadsCut { cut, of } => write!(f, "{cut} of {of} heads are cut or left out"),
            Self::Enlarged(scale) => write!(f, "enlarged {scale:.2} times"),
            Self::NothingFound => write!(f, "nothing found: the middle is kept"),
            Self::UncertainFace(score) => write!(f, "perhaps not a face (score {score:.1})"),
            Self::FacePassedOver(score) => write!(f, "perhaps a face was passed over (score {score:.1})"),
            Self::SmallFace(share) => write!(f, "the face has {:.0} % of the height", 100.0 * share),
            Self::Diffuse(_) => write!(f, "nothing stands out much"),
            Self::AtEdge => write!(f, "the focus is at an edge of the picture"),
        }
    }
}

/// A face with a smaller share of a window's height is a small one.
const SMALL_FACE: f64 = 1.0 / 12.0;
/// A face is uncertain if less than this share of its score is above the threshold.
const UNCERTAIN_FACE: f64 = 0.2;
/// A map that is less certain than this has no clear subject: lawns, gravel and walls have 0.10 to 0.14,
/// photographs of things 0.18 to 0.45.
const DIFFUSE: f64 = 0.15;
/// A region that comes so near to an edge, as a share of the side, touches it.
const EDGE: f64 = 0.01;
/// Less than this share of a side, or of a scale, is rounding.
const ROUNDING: f64 = 1e-6;

/// What is doubtful about a window, the gravest first.
pub(super) fn doubts(picture: Region, focus: &Focus, window: &Region, scale: f64) -> Vec<Doubt> {
    let mut doubts = match focus.kind {
        FocusKind::Face => of_faces(focus, window),
        FocusKind::Saliency => of_region(focus, window),
        FocusKind::Given => cut_region(focus, window).into_iter().collect(),
        FocusKind::Centre if focus.certainty > 0.0 => Vec::new(),
        FocusKind::Centre => vec![Doubt::NothingFound],
    };
    if scale > 1.0 + ROUNDING {
        doubts.push(Doubt::Enlarged(scale));
    }
    if focus.kind != FocusKind::Centre && at_edge(picture, focus) {
        doubts.push(Doubt::AtEdge);
    }
    doubts.extend(focus.passed_over.map(Doubt::FacePassedOver));
    doubts.sort_by(|a, b| b.weight().total_cmp(&a.weight()));
    doubts
}

/// Heads that are not whole in the window.
pub(super) fn cut_heads(focus: &Focus, window: &Region) -> usize {
    let slack = ROUNDING * window.width.max(window.height);
    focus.faces.iter().filter(|face| !window.contains(&face.head, slack)).count()
}

/// Cut, small and uncertain faces.
fn of_faces(focus: &Focus, window: &Region) -> Vec<Doubt> {
    let (cut, of) = (cut_heads(focus, window), focus.faces.len());
    let largest = focus.faces.first();
    let share = largest.map_or(1.0, |face| face.region.height / window.height);
    let uncertain = largest.filter(|_| focus.certainty < UNCERTAIN_FACE);
    [
        (cut > 0).then_some(Doubt::HeadsCut { cut, of }),
        (share < SMALL_FACE).then_some(Doubt::SmallFace(share)),
        uncertain.map(|face| Doubt::UncertainFace(face.score)),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// A region that is cut or hardly stands out.
fn of_region(focus: &Focus, window: &Region) -> Vec<Doubt> {
    let diffuse = (focus.certainty < DIFFUSE).then_some(Doubt::Diffuse(focus.certainty));
    cut_region(focus, window).into_iter().chain(diffuse).collect()
}

/// A region that is not whole in the window.
fn cut_region(focus: &Focus, window: &Region) -> Option<Doubt> {
    let slack = ROUNDING * window.width.max(window.height);
    let kept = focus.region.intersection(window).area() / focus.region.area().max(f64::MIN_POSITIVE);
    (!window.contains(&focus.region, slack)).then_some(Doubt::FocusCut(kept.clamp(0.0, 1.0)))
}

/// Whether the most important part of the focus touches an edge of the picture.
fn at_edge(picture: Region, focus: &Focus) -> bool {
    let (across, down) = (EDGE * picture.width, EDGE * picture.height);
    focus.parts.first().is_some_and(|part| {
        part.x <= across
            || part.y <= down
            || part.right() >= picture.width - across
            || part.bottom() >= picture.height - down
    })
}
