//! Where the time goes, added up over all threads.

use serde::{Serialize, Serializer};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// A piece of the work on a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Reading and hashing the file.
    Read,
    /// From the file to upright pixels.
    Decode,
    /// Finding what the picture is about.
    Focus,
    /// Cutting and scaling.
    Cut,
    /// From pixels to the file.
    Encode,
    /// The small copy for the review sheet.
    Thumbnail,
    /// Writing to disk.
    Write,
}

/// All stages in their order, with their names.
const STAGES: [(Stage, &str); 7] = [
    (Stage::Read, "read"),
    (Stage::Decode, "decode"),
    (Stage::Focus, "focus"),
    (Stage::Cut, "cut"),
    (Stage::Encode, "encode"),
    (Stage::Thumbnail, "thumbnail"),
    (Stage::Write, "write"),
];

/// See the module's documentation.
#[derive(Debug, Default)]
pub struct Timings {
    nanoseconds: [AtomicU64; STAGES.len()],
    pixels: AtomicU64,
}

impl Timings {
    /// Runs `work` as a part of `stage`.
    pub(super) fn time<R>(&self, stage: Stage, work: impl FnOnce() -> R) -> R {
        let started = Instant::now();
        let result = work();
        let spent = started.elapsed().as_nanos() as u64;
        let places = self.nanoseconds.iter().zip(STAGES).filter(|(_, (named, _))| *named == stage);
        places.for_each(|(place, _)| {
            place.fetch_add(spent, Ordering::Relaxed);
        });
        result
    }

    /// Counts the pixels of a picture that was decoded.
    pub(super) fn decoded(&self, width: u32, height: u32) {
        self.pixels.fetch_add(u64::from(width) * u64::from(height), Ordering::Relaxed);
    }

    /// Seconds of every stage with its name, in the order of the work.
    pub fn seconds(&self) -> Vec<(&'static str, f64)> {
        let seconds = |spent: &AtomicU64| spent.load(Ordering::Relaxed) as f64 / 1e9;
        self.nanoseconds.iter().zip(STAGES).map(|(spent, (_, name))| (name, seconds(spent))).collect()
    }

    /// Millions of source pixels decoded.
    pub fn megapixels(&self) -> f64 {
        self.pixels.load(Ordering::Relaxed) as f64 / 1e6
    }

    /// Megapixels a second that one core turns from file to file, without the search for the focus.
    pub fn rate(&self) -> f64 {
        let spent: f64 = self.seconds().iter().filter(|(name, _)| *name != "focus").map(|(_, s)| s).sum();
        if spent > 0.0 { self.megapixels() / spent } else { 0.0 }
    }
}

/// Seconds by stage, the megapixels and the rate.
impl Serialize for Timings {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let sums = [("megapixels", self.megapixels()), ("megapixels_per_core_second", self.rate())];
        serializer.collect_map(self.seconds().into_iter().chain(sums))
    }
}
