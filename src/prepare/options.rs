//! What the user asks for, beyond the two folders.

use super::focus::FocusMode;
use super::window::Limits;
use crate::dataset::{Bucket, Filter, buckets_at, content_hash};
use crate::error::{Error, Result};

/// Changes when the same options would lead to other pictures.
const VERSION: &str = "1";

/// What sides are multiples of: a patch of the model, two latent pixels of eight pixels each.
const MULTIPLE: usize = 16;
/// The longest side of a size.
const LONGEST: usize = 16384;

/// The format of the pictures that are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Without loss.
    Png,
    /// With the quality 1 to 100 of the usual scale and chroma at half resolution.
    Jpeg(u8),
}

impl Format {
    /// The extension of its files.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Png => "png",
            Self::Jpeg(_) => "jpg",
        }
    }
}

/// How pictures are prepared.
#[derive(Debug, Clone)]
pub struct Options {
    /// The sizes to choose from, at least one.
    pub sizes: Vec<Bucket>,
    /// What to look for.
    pub mode: FocusMode,
    /// The score from which a detection is a face.
    pub face_threshold: f64,
    /// How far pictures may be scaled, and how tightly they are cropped.
    pub limits: Limits,
    /// What is written.
    pub format: Format,
    /// How pixels are computed where a picture is reduced; enlarging always takes Lanczos.
    pub filter: Filter,
    /// What lies under transparent pixels.
    pub background: [u8; 3],
    /// Pictures worked on at a time; 0 is one per core.
    pub threads: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            sizes: buckets_at(1024).unwrap_or_default(),
            mode: FocusMode::Auto,
            face_threshold: super::THRESHOLD,
            limits: Limits::default(),
            format: Format::Png,
            filter: Filter::Lanczos,
            background: [255; 3],
            threads: 0,
        }
    }
}

impl Options {
    /// A hash of all that the pixels depend on besides the picture: these options and `wish`, the user's wish
    /// for this picture.
    pub(super) fn fingerprint(&self, wish: &str) -> String {
        let Self { sizes, mode, face_threshold, limits, format, filter, background, threads: _ } = self;
        let all = (sizes, mode, face_threshold, limits, format, filter, background, wish);
        content_hash(format!("{VERSION} {all:?}").as_bytes())
    }
}

/// Reads a list of sizes such as `1024x1024,832x1216`; a number alone stands for the sizes of that resolution.
///
/// # Errors
/// A list without sizes, or a size that the model cannot have.
pub fn parse_sizes(text: &str) -> Result<Vec<Bucket>> {
    let mut sizes = Vec::new();
    for part in text.split([',', ' ']).filter(|part| !part.is_empty()) {
        let more = match part.parse::<usize>() {
            Ok(resolution) => buckets_at(resolution).map_err(|e| wrong(part, &e.cause))?,
            Err(_) => vec![parse_size(part)?],
        };
        for size in more {
            if !sizes.contains(&size) {
                sizes.push(size);
            }
        }
    }
    if sizes.is_empty() {
        return Err(wrong(text, "there is no size in it"));
    }
    Ok(sizes)
}

/// Reads one size such as `832x1216`.
///
/// # Errors
/// Anything else, or sides that are no multiples of 16.
pub fn parse_size(text: &str) -> Result<Bucket> {
    let sides = text.split_once(['x', 'X', '×']);
    let side = |side: &str| side.trim().parse::<usize>().ok();
    let Some((Some(width), Some(height))) = sides.map(|(width, height)| (side(width), side(height))) else {
        return Err(wrong(text, "it is not WIDTHxHEIGHT"));
    };
    if [width, height].iter().any(|side| !(MULTIPLE..=LONGEST).contains(side)) {
        return Err(wrong(text, &format!("a side has {MULTIPLE} to {LONGEST} pixels")));
    }
    if width % MULTIPLE != 0 || height % MULTIPLE != 0 {
        let near = |side: usize| ((side + MULTIPLE / 2) / MULTIPLE).max(1) * MULTIPLE;
        let cause = format!("sides are multiples of {MULTIPLE}, such as {}x{}", near(width), near(height));
        return Err(wrong(text, &cause));
    }
    Ok(Bucket { width, height })
}

fn wrong(text: &str, cause: &str) -> Error {
    Error::usage(format!("the size `{text}` cannot be used: {cause}"))
        .hint("write sizes as 1024x1024,832x1216, or a resolution such as 1024")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_in_their_order_each_once() {
        let sizes = parse_sizes("1024x1024, 832x1216,1024X1024").unwrap();
        assert_eq!(sizes, [Bucket { width: 1024, height: 1024 }, Bucket { width: 832, height: 1216 }]);
        assert_eq!(parse_sizes("1024").unwrap(), Options::default().sizes);
        assert_eq!(Options::default().sizes.len(), 8);
    }

    #[test]
    fn sizes_that_no_model_has_are_refused() {
        for (text, part) in [
            ("", "no size"),
            ("1024by1024", "WIDTHxHEIGHT"),
            ("1000x1024", "1008x1024"),
            ("0x16", "16 to 16384"),
            ("1024x99999", "16 to 16384"),
            ("-16x16", "WIDTHxHEIGHT"),
        ] {
            let error = parse_sizes(text).unwrap_err();
            assert!(error.cause.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn threads_change_no_pixel_and_all_else_may() {
        let options = Options::default();
        let print = options.fingerprint("");
        assert_eq!(Options { threads: 3, ..options.clone() }.fingerprint(""), print);
        assert_ne!(Options { format: Format::Jpeg(90), ..options.clone() }.fingerprint(""), print);
        assert_ne!(options.fingerprint("wish"), print);
    }
}
