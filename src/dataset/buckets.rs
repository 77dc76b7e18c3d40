//! Buckets: the exact sizes to which pictures are cropped, so that a batch has one shape.
//!
//! A bucket of aspect ratio `a` at resolution `r` is `m(r*sqrt(a)) x m(r/sqrt(a))`, where `m` rounds to a
//! multiple (SimpleTuner's formula). The multiple is 64 from 512 pixels upward; below, it is 16, one patch
//! of the model, because 64 would leave too few shapes. Where `r` is the shorter edge, the bucket is
//! `m(r) x m(r*a)` or the same upright.

use crate::error::{Error, Result};
use std::fmt;

/// The sizes at resolution 1024; every other resolution has buckets of these aspect ratios.
const AT_1024: [Bucket; 8] = [
    Bucket { width: 1024, height: 1024 },
    Bucket { width: 1152, height: 896 },
    Bucket { width: 896, height: 1152 },
    Bucket { width: 1216, height: 832 },
    Bucket { width: 832, height: 1216 },
    Bucket { width: 1344, height: 768 },
    Bucket { width: 768, height: 1344 },
    Bucket { width: 1472, height: 704 },
];

/// Width and height in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bucket {
    /// Pixels from left to right.
    pub width: usize,
    /// Pixels from top to bottom.
    pub height: usize,
}

impl Bucket {
    /// Width over height.
    pub fn aspect(&self) -> f64 {
        self.width as f64 / self.height as f64
    }
}

impl fmt::Display for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}", self.width, self.height)
    }
}

/// How large a picture or a bucket is said to be: by one edge, in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Measure {
    /// The edge of the square that has the same area.
    #[default]
    Area,
    /// The shorter edge.
    ShortEdge,
}

impl Measure {
    /// The edge of a `width x height` picture.
    pub fn edge(self, width: u32, height: u32) -> f64 {
        match self {
            Self::Area => (f64::from(width) * f64::from(height)).sqrt(),
            Self::ShortEdge => f64::from(width.min(height)),
        }
    }

    /// Width and height of aspect ratio `aspect` with this `edge`.
    fn sides(self, edge: f64, aspect: f64) -> (f64, f64) {
        match self {
            Self::Area => (edge * aspect.sqrt(), edge / aspect.sqrt()),
            Self::ShortEdge => (edge * aspect.max(1.0), edge / aspect.min(1.0)),
        }
    }
}

/// What sides are multiples of at `resolution`.
fn multiple(resolution: usize) -> usize {
    if resolution >= 512 { 64 } else { 16 }
}

/// The buckets at `resolution`, the square first, each once.
///
/// # Errors
/// A resolution outside 16 to 16384.
pub fn buckets_at(resolution: usize) -> Result<Vec<Bucket>> {
    buckets_of(resolution, Measure::Area, &usual_aspects())
}

/// The aspect ratios of the eight usual buckets, the square first.
pub fn usual_aspects() -> Vec<f64> {
    AT_1024.iter().map(Bucket::aspect).collect()
}

/// The buckets of these aspect ratios at `resolution`, in their order, each once.
///
/// # Errors
/// A resolution outside 16 to 16384.
pub fn buckets_of(resolution: usize, measure: Measure, aspects: &[f64]) -> Result<Vec<Bucket>> {
    if !(16..=16384).contains(&resolution) {
        return Err(Error::setting("resolution", format!("{resolution} is not between 16 and 16384 pixels")));
    }
    let multiple = multiple(resolution);
    let round = |side: f64| ((side / multiple as f64).round() as usize).max(1) * multiple;
    let edge = round(resolution as f64) as f64;
    let mut buckets = Vec::new();
    for &aspect in aspects {
        let (width, height) = measure.sides(edge, aspect);
        let bucket = Bucket { width: round(width), height: round(height) };
        if !buckets.contains(&bucket) {
            buckets.push(bucket);
        }
    }
    Ok(buckets)
}

/// The bucket whose logarithm of the aspect ratio is nearest to that of a picture; the first of equals.
pub fn bucket_for(width: usize, height: usize, buckets: &[Bucket]) -> Option<Bucket> {
    let wanted = (width as f64 / height as f64).ln();
    let distance = |bucket: &Bucket| (bucket.aspect().ln() - wanted).abs();
    buckets.iter().copied().min_by(|a, b| distance(a).total_cmp(&distance(b)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sizes(resolution: usize) -> Vec<(usize, usize)> {
        buckets_at(resolution).unwrap().iter().map(|b| (b.width, b.height)).collect()
    }

    #[test]
    fn at_1024_they_are_the_eight_of_the_tutorial() {
        assert_eq!(buckets_at(1024).unwrap(), AT_1024);
    }

    #[test]
    fn other_resolutions_follow_the_formula() {
        assert_eq!(
            sizes(768),
            [
                (768, 768),
                (896, 704),
                (704, 896),
                (960, 640),
                (640, 960),
                (1024, 576),
                (576, 1024),
                (1088, 512)
            ]
        );
        assert_eq!(
            sizes(512),
            [(512, 512), (576, 448), (448, 576), (640, 448), (448, 640), (704, 384), (384, 704), (768, 384)]
        );
        assert_eq!(
            sizes(256),
            [(256, 256), (288, 224), (224, 288), (304, 208), (208, 304), (336, 192), (192, 336), (368, 176)]
        );
        assert_eq!(
            sizes(128),
            [(128, 128), (144, 112), (112, 144), (160, 112), (112, 160), (176, 96), (96, 176), (192, 96)]
        );
    }

    #[test]
    fn by_the_shorter_edge_no_side_is_shorter() {
        let sizes = |resolution| {
            let buckets = buckets_of(resolution, Measure::ShortEdge, &usual_aspects()).unwrap();
            buckets.iter().map(|b| (b.width, b.height)).collect::<Vec<_>>()
        };
        // 512 * 1152/896 = 658.3, 512 * 1216/832 = 748.3, 512 * 1344/768 = 896, 512 * 1472/704 = 1070.5.
        assert_eq!(
            sizes(512),
            [(512, 512), (640, 512), (512, 640), (768, 512), (512, 768), (896, 512), (512, 896), (1088, 512)]
        );
        assert_eq!((Measure::ShortEdge.edge(300, 200), Measure::Area.edge(100, 400)), (200.0, 200.0));
    }

    #[test]
    fn shapes_of_ones_own_follow_the_same_formula() {
        let buckets = buckets_of(1024, Measure::Area, &[1.0, 1.5, 0.5, 1.0001]).unwrap();
        let sizes: Vec<_> = buckets.iter().map(Bucket::to_string).collect();
        // 1024 * sqrt(1.5) = 1254.1 and 836.1; 1024 * sqrt(0.5) = 724.1 and 1448.2.
        assert_eq!(sizes, ["1024x1024", "1280x832", "704x1472"]);
    }

    #[test]
    fn resolutions_of_no_use_are_refused() {
        for resolution in [0, 15, 16385, usize::MAX] {
            let error = buckets_at(resolution).unwrap_err();
            assert!(error.place.contains("resolution"), "{error}");
        }
    }

    #[test]
    fn the_nearest_shape_wins_and_the_first_of_equals() {
        let buckets = buckets_at(1024).unwrap();
        let choose = |w, h| bucket_for(w, h, &buckets).unwrap().to_string();
        assert_eq!(choose(800, 800), "1024x1024");
        assert_eq!(choose(4000, 3000), "1152x896");
        assert_eq!(choose(1000, 1500), "832x1216");
        assert_eq!(choose(1920, 1080), "1344x768");
        assert_eq!(choose(10_000, 10), "1472x704");
        assert_eq!(choose(10, 10_000), "768x1344");
        let pair = [Bucket { width: 32, height: 16 }, Bucket { width: 16, height: 32 }];
        assert_eq!(bucket_for(9, 9, &pair), Some(pair[0]));
    }

    proptest! {
        #[test]
        fn sides_are_multiples_and_areas_are_close(resolution in 128usize..=4096) {
            let multiple = multiple(resolution) as f64;
            let edge = resolution as f64;
            for bucket in buckets_at(resolution).unwrap() {
                prop_assert_eq!(bucket.width % multiple as usize, 0);
                prop_assert_eq!(bucket.height % multiple as usize, 0);
                // Each side is off by half a multiple at most, and so is the edge they come from.
                let slack = |side: usize| multiple / (side as f64 - multiple);
                let bound = (1.0 + slack(bucket.width)) * (1.0 + slack(bucket.height));
                let area = bucket.width as f64 * bucket.height as f64 / (edge * edge);
                prop_assert!(area < bound && area > 1.0 / bound, "{} has {} of the area", bucket, area);
            }
        }
    }
}
