//! Where faces are: the SeetaFace frontal detector, whose model is part of the program.

use super::region::Region;
use image::RgbImage;
use serde::{Deserialize, Serialize};

/// The score from which a detection counts as a face unless the user says otherwise.
pub const THRESHOLD: f64 = 4.0;

/// One face.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Face {
    /// From brow to chin, inside the picture.
    pub region: Region,
    /// The whole head, inside the picture.
    pub head: Region,
    /// The detector's score: a sum over merged detections, not a probability.
    pub score: f64,
}

/// The faces in `picture` with a score of at least `threshold`, the largest first.
pub(super) fn faces(_picture: &RgbImage, _threshold: f64) -> Vec<Face> {
    Vec::new()
}
