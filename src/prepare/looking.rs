//! What is to become of one picture: read, looked at and placed, with nothing written.

use super::focus::Focus;
use super::options::Options;
use super::overrides::Wish;
use super::placing;
use super::record::{Entry, Extent, Original, State};
use super::sources::Source;
use super::timings::{Stage, Timings};
use super::window::Placement;
use crate::dataset::content_hash;
use crate::dataset::picture::{self, Reading};
use crate::error::{Error, Result};
use image::RgbImage;
use std::sync::{Mutex, PoisonError};

/// A picture and what is to become of it.
pub(super) struct Looked {
    /// The upright picture.
    pub upright: RgbImage,
    /// All that can be said before anything is written.
    pub entry: Entry,
    /// Where it is cropped; none if the user does not want it or it fits no size.
    pub placement: Option<Placement>,
}

/// Memory of decoded pictures, for the pictures after them: fresh memory costs a tenth of decoding.
#[derive(Default)]
pub(super) struct Memory(Mutex<Vec<Vec<u8>>>);

impl Memory {
    fn take(&self) -> Vec<u8> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default()
    }

    /// Gives back a picture that is no longer needed.
    pub(super) fn give_back(&self, picture: RgbImage) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(picture.into_raw());
    }
}

/// The bytes of the file and what identifies it.
pub(super) fn read(source: &Source, timings: &Timings) -> Result<(Vec<u8>, Original)> {
    timings.time(Stage::Read, || {
        let bytes = picture::read(&source.path)?;
        let sha256 = content_hash(&bytes);
        let original = Original { bytes: source.bytes, modified: source.modified, sha256 };
        Ok::<_, Error>((bytes, original))
    })
}

/// Looks at a picture whose file has been read.
///
/// # Errors
/// A picture that cannot be decoded.
pub(super) fn look(
    source: &Source,
    (bytes, original): (&[u8], Original),
    wish: &Wish,
    options: &Options,
    timings: &Timings,
    memory: &Memory,
) -> Result<Looked> {
    let reading = Reading { background: options.background, to_srgb: true };
    let upright =
        timings.time(Stage::Decode, || picture::decode_into(&source.path, bytes, &reading, memory.take()))?;
    let (width, height) = upright.dimensions();
    timings.decoded(width, height);
    let focus = timings.time(Stage::Focus, || placing::focus(&upright, wish, options));
    let placed = placing::place((width, height), &focus, wish, options);
    let mut entry = entry(source, Extent { width, height }, focus, original);
    entry.options = fingerprint(wish, options);
    let placement = match placed {
        Ok(placement) => {
            describe(&mut entry, &placement);
            Some(placement)
        }
        Err(cause) => {
            entry.state = State::Refused;
            entry.reason = cause;
            None
        }
    };
    if wish.skip {
        entry.state = State::Excluded;
    }
    Ok(Looked { upright, entry, placement: placement.filter(|_| !wish.skip) })
}

/// A hash of all that a crop depends on besides the picture.
pub(super) fn fingerprint(wish: &Wish, options: &Options) -> String {
    options.fingerprint(&format!("{wish:?}"))
}

/// An entry for a picture that is not placed yet.
fn entry(source: &Source, picture: Extent, focus: Focus, original: Original) -> Entry {
    Entry {
        source: source.name.clone(),
        state: State::Made,
        output: None,
        picture,
        size: None,
        focus: focus.into(),
        window: None,
        scale: None,
        reason: String::new(),
        doubts: Vec::new(),
        captions: Vec::new(),
        original,
        options: String::new(),
        likeness: String::new(),
        like: None,
    }
}

/// Fills in where the picture is cropped.
fn describe(entry: &mut Entry, placement: &Placement) {
    let Placement { size, window, scale, reason, doubts, kept: _ } = placement;
    entry.size = Some(Extent { width: size.width as u32, height: size.height as u32 });
    entry.window = Some(*window);
    entry.scale = Some(*scale);
    entry.reason.clone_from(reason);
    entry.doubts = doubts.iter().copied().map(Into::into).collect();
}
