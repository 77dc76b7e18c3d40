//! Reasons to look at a crop before training on it.

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
            Self::FocusCut(kept) => 0.5 + 0.5 * (1.0 - kept),
            Self::HeadsCut { cut, of } => 0.5 + 0.4 * cut as f64 / of.max(1) as f64,
            Self::Enlarged(scale) => 0.4 + 0.6 * (1.0 - 1.0 / scale.max(1.0)),
            Self::NothingFound => 0.7,
            Self::UncertainFace(_) => 0.5,
            Self::FacePassedOver(_) => 0.5,
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
