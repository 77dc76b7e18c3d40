//! Where faces are: the SeetaFace frontal detector (Wu et al., "Funnel-structured cascade for multi-view face
//! detection with alignment awareness", Neurocomputing 2017), whose model is part of the program.

use super::region::Region;
use super::thumbnail;
use image::{GrayImage, RgbImage};
use rustface::{ImageData, Model};
use serde::{Deserialize, Serialize};
use std::cmp::Ordering;
use std::sync::OnceLock;

/// The score from which a detection counts as a face unless the user says otherwise.
///
/// On 92 pictures without faces it is the lowest whole number without a false detection.
pub const THRESHOLD: f64 = 4.0;

/// The model (SeetaFace FuSt cascade, BSD-2-Clause).
static MODEL: &[u8] = include_bytes!("../../assets/face/seeta_fd_frontal_v1.0.bin");

/// The longer side in pixels at which a picture is searched first. The detector sees faces from 40 pixels upward.
const COARSE: u32 = 768;
/// The longer side at which it is searched again if it had no face, or small ones among which smaller ones may be.
const FINE: u32 = 1280;
/// The longer side at which a crowd is searched: a picture that had small faces even then.
const FINEST: u32 = 1920;
/// Faces with a shorter side in the searched copy, in pixels, are small.
const SMALL: f64 = 80.0;
/// A picture is enlarged at most so many times for the finer search.
const FINE_ENLARGEMENT: u32 = 2;
/// The side of the detector's window in pixels: it cannot look at pictures that are smaller.
const SMALLEST_SIDE: u32 = 40;
/// Detections with less are noise.
const LOWEST_SCORE: f64 = 0.1;
/// Hair, or a hat, goes beyond the face by so many face heights upward.
const HAIR: f64 = 0.6;
/// The head and what is around it go beyond the face by so many face heights to either side and downward.
const CHEEKS: f64 = 0.3;

/// One face.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Face {
    /// From brow to chin, inside the picture.
    pub region: Region,
    /// The face and the hair or hat above it, inside the picture.
    pub crowned: Region,
    /// The whole head with some room around it, inside the picture.
    pub head: Region,
    /// The detector's score: a sum over merged detections, not a probability.
    pub score: f64,
}

impl Face {
    /// The face that fills `region` of a picture; nothing where it lies outside.
    fn new(region: Region, score: f64, picture: Region) -> Option<Self> {
        let height = region.height;
        let grown = |up: f64, aside: f64| {
            let (left, right) = (region.x - aside * height, region.right() + aside * height);
            let (top, bottom) = (region.y - up * height, region.bottom() + aside * height);
            Region::between(left, top, right, bottom).intersection(&picture)
        };
        let face =
            Self { region: grown(0.0, 0.0), crowned: grown(HAIR, 0.0), head: grown(HAIR, CHEEKS), score };
        (face.region.area() > 0.0).then_some(face)
    }

    /// What is to be kept of it, the most important first: each holds the one before.
    pub(super) fn parts(&self) -> [Region; 3] {
        [self.region, self.crowned, self.head]
    }
}

/// The faces from `threshold` upward and, if there are none, the detections from `weakest` upward; both the largest
/// first, in the picture's pixels.
pub(super) fn faces_above(picture: &RgbImage, threshold: f64, weakest: f64) -> (Vec<Face>, Vec<Face>) {
    let whole = Region::whole(picture.width(), picture.height());
    let longer = picture.width().max(picture.height());
    let largest = longer.saturating_mul(FINE_ENLARGEMENT);
    let lowest = weakest.min(threshold);
    let mut found = search(picture, COARSE, lowest);
    for (last, long) in [(COARSE, FINE), (FINE, FINEST)] {
        let small = SMALL * f64::from(longer) / f64::from(last);
        let faces = || found.iter().filter(|face| face.score >= threshold);
        let (none, all_small) = (faces().count() == 0, faces().all(|face| face.region.height < small));
        if largest <= last || !all_small || (none && last > COARSE) {
            break;
        }
        found.extend(search(picture, long.min(largest), lowest));
    }
    let (strong, weak) = apart(found).into_iter().partition::<Vec<Face>, _>(|face| face.score >= threshold);
    let weak = if strong.is_empty() { weak } else { Vec::new() };
    (in_order(strong, whole), in_order(weak, whole))
}

/// The faces at one size of the picture.
fn search(picture: &RgbImage, long: u32, threshold: f64) -> Vec<Face> {
    let whole = Region::whole(picture.width(), picture.height());
    let (width, height) = thumbnail::fitted(picture.width(), picture.height(), long);
    if width.min(height) < SMALLEST_SIDE || whole.area() == 0.0 {
        return Vec::new();
    }
    let grey = thumbnail::grey(picture, long);
    let (across, down) = (whole.width / f64::from(width), whole.height / f64::from(height));
    let found = detect(&grey, threshold).into_iter();
    found.filter_map(|(region, score)| Face::new(region.scaled(across, down), score, whole)).collect()
}

/// What the detector sees in a grey picture, in its pixels; boxes may reach beyond it.
fn detect(grey: &GrayImage, threshold: f64) -> Vec<(Region, f64)> {
    static READ: OnceLock<Option<Model>> = OnceLock::new();
    let model = READ.get_or_init(|| rustface::read_model(MODEL).ok());
    let Some(model) = model.clone() else { return Vec::new() };
    let mut detector = rustface::create_detector_with_model(model);
    detector.set_score_thresh(threshold.max(LOWEST_SCORE));
    let found = detector.detect(&ImageData::new(grey.as_raw(), grey.width(), grey.height()));
    let found = found.iter().map(|face| {
        let (corner, side) = (face.bbox(), |side: u32| f64::from(side));
        let region = Region {
            x: f64::from(corner.x()),
            y: f64::from(corner.y()),
            width: side(corner.width()),
            height: side(corner.height()),
        };
        (region, face.score())
    });
    found.collect()
}

/// Without detections of which more than half lies in one with a higher score.
fn apart(mut faces: Vec<Face>) -> Vec<Face> {
    faces.sort_by(|a, b| b.score.total_cmp(&a.score).then(by_place(a, b)));
    let mut kept: Vec<Face> = Vec::new();
    for face in faces {
        let covered = |other: &Face| {
            let shared = other.region.intersection(&face.region).area();
            shared > 0.5 * other.region.area().min(face.region.area())
        };
        if !kept.iter().any(covered) {
            kept.push(face);
        }
    }
    kept
}

/// The largest first; of equals the highest score, then the nearest to the middle, then the first as one reads.
fn in_order(mut faces: Vec<Face>, picture: Region) -> Vec<Face> {
    let middle = picture.centre();
    let distance = |face: &Face| {
        let centre = face.region.centre();
        (centre.x - middle.x).hypot(centre.y - middle.y)
    };
    faces.sort_by(|a, b| {
        (b.region.area().total_cmp(&a.region.area()))
            .then(b.score.total_cmp(&a.score))
            .then(distance(a).total_cmp(&distance(b)))
            .then(by_place(a, b))
    });
    faces
}

/// From top to bottom, then from left to right.
fn by_place(a: &Face, b: &Face) -> Ordering {
    a.region.y.total_cmp(&b.region.y).then(a.region.x.total_cmp(&b.region.x))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PICTURE: Region = Region { x: 0.0, y: 0.0, width: 1000.0, height: 800.0 };

    fn face(x: f64, y: f64, side: f64, score: f64) -> Face {
        Face::new(Region { x, y, width: side, height: side }, score, PICTURE).unwrap()
    }

    #[test]
    fn the_model_in_the_program_is_the_published_one_and_can_be_read() {
        use sha2::{Digest, Sha256};
        let sum: String = Sha256::digest(MODEL).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(sum, "c4619d066ed35e84d9a8e842860b0dff567aba0cbb139881075538761db3ff5d");
        assert!(rustface::read_model(MODEL).is_ok());
    }

    #[test]
    fn a_head_reaches_above_and_around_its_face_but_not_beyond_the_picture() {
        let Face { region, crowned, head, .. } = face(400.0, 300.0, 100.0, 9.0);
        assert_eq!(region, Region::between(400.0, 300.0, 500.0, 400.0));
        assert_eq!(crowned, Region::between(400.0, 240.0, 500.0, 400.0));
        assert_eq!(head, Region::between(370.0, 240.0, 530.0, 430.0));
        let corner = face(-20.0, 10.0, 100.0, 9.0);
        assert_eq!(corner.region, Region::between(0.0, 10.0, 80.0, 110.0));
        assert_eq!(corner.head, Region::between(0.0, 0.0, 110.0, 140.0));
        assert!(Face::new(Region::between(1100.0, 0.0, 1200.0, 100.0), 9.0, PICTURE).is_none());
    }

    #[test]
    fn a_face_within_a_better_one_is_none() {
        let (outer, inner, beside) =
            (face(100.0, 100.0, 200.0, 20.0), face(150.0, 150.0, 60.0, 6.0), face(290.0, 100.0, 100.0, 5.0));
        assert_eq!(apart(vec![inner, beside, outer]), [outer, beside]);
        let better = Face { score: 30.0, ..inner };
        assert_eq!(apart(vec![outer, better]), [better]);
    }

    #[test]
    fn the_order_is_total_and_does_not_depend_on_the_detectors() {
        let large = face(0.0, 0.0, 200.0, 5.0);
        let sure = face(700.0, 0.0, 100.0, 30.0);
        let central = face(450.0, 350.0, 100.0, 8.0);
        let (left, right) = (face(300.0, 350.0, 100.0, 8.0), face(600.0, 350.0, 100.0, 8.0));
        let ordered = [large, sure, central, left, right];
        for turn in 0..ordered.len() {
            let mut faces = ordered.to_vec();
            faces.rotate_left(turn);
            assert_eq!(in_order(faces.clone(), PICTURE), ordered);
            faces.reverse();
            assert_eq!(in_order(faces, PICTURE), ordered);
        }
    }
}
