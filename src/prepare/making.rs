//! One picture: from its file to its crop, unless that is there already.

use super::captions;
use super::encode;
use super::likeness::likeness;
use super::looking::{self, Looked, Memory};
use super::options::Options;
use super::overrides::Overrides;
use super::record::{Entry, Journal, State, Written};
use super::sources::Source;
use super::target::Target;
use super::thumbnail::glance;
use super::timings::{Stage, Timings};
use super::window::Placement;
use crate::dataset::{Filter, content_hash, resample};
use crate::error::{Error, Result};
use image::RgbImage;

/// All that the work on every picture shares.
pub(super) struct Workshop<'a> {
    pub options: &'a Options,
    pub overrides: &'a Overrides,
    pub target: &'a Target,
    pub journal: &'a Journal,
    pub timings: &'a Timings,
    pub memory: &'a Memory,
    /// The long side of the small copies for the review sheet.
    pub thumbnail_side: u32,
}

/// What became of one picture.
pub(super) struct Done {
    /// For the record.
    pub entry: Entry,
    /// Whether its crop was written.
    pub written: bool,
    /// How many captions were written.
    pub captions: usize,
    /// Remarks for the report.
    pub notes: Vec<String>,
}

impl Workshop<'_> {
    /// Brings the crop of `source` up to date; `before` is what an earlier run has made of it.
    ///
    /// # Errors
    /// A picture or caption that cannot be read, or a file that cannot be written.
    pub(super) fn prepare(&self, source: &Source, before: Option<&Entry>) -> Result<Done> {
        let wish = self.overrides.wishes.get(&source.name).cloned().unwrap_or_default();
        let options = looking::fingerprint(&wish, self.options);
        let standing = before.filter(|entry| entry.options == options && self.stands(entry, source));
        let stamp = (source.bytes, source.modified);
        if let Some(entry) = standing.filter(|entry| (entry.original.bytes, entry.original.modified) == stamp)
        {
            return self.keep(entry.clone(), source);
        }
        let (bytes, original) = looking::read(source, self.timings)?;
        if let Some(entry) = standing.filter(|entry| entry.original.sha256 == original.sha256) {
            return self.keep(Entry { original, ..entry.clone() }, source);
        }
        let looked =
            looking::look(source, (&bytes, original), &wish, self.options, self.timings, self.memory)?;
        drop(bytes);
        self.make(source, looked, before)
    }

    /// Whether what `entry` says is there.
    fn stands(&self, entry: &Entry, source: &Source) -> bool {
        let is_there = |written: &Written| {
            let about = self.target.path(&written.file).metadata();
            written.file == source.file && about.is_ok_and(|about| about.len() == written.bytes)
        };
        let crop_stands = match entry.state {
            State::Made => entry.output.as_ref().is_some_and(is_there),
            State::Excluded | State::Refused => true,
            State::Vanished => false,
        };
        crop_stands && self.target.thumbnail(&source.name).is_file()
    }

    /// Leaves a crop as it is; its captions may have changed.
    fn keep(&self, mut entry: Entry, source: &Source) -> Result<Done> {
        if entry.state != State::Made {
            return Ok(Done { entry, written: false, captions: 0, notes: Vec::new() });
        }
        let copied = captions::copy(source, &entry.captions, self.target)?;
        entry.captions = copied.files;
        Ok(Done { entry, written: false, captions: copied.written, notes: copied.notes })
    }

    fn make(&self, source: &Source, looked: Looked, before: Option<&Entry>) -> Result<Done> {
        let Looked { upright, mut entry, placement } = looked;
        entry.likeness = self.thumbnail(source, &upright)?;
        entry.captions = before.map(|entry| entry.captions.clone()).unwrap_or_default();
        match placement {
            Some(placement) => {
                let bytes = self.encoded(source, &upright, &placement)?;
                self.memory.give_back(upright);
                self.finish(source, &bytes, entry, before)
            }
            None => self.leave_out(entry, before),
        }
    }

    /// Writes the small copy; what the picture looks like.
    fn thumbnail(&self, source: &Source, upright: &RgbImage) -> Result<String> {
        self.timings.time(Stage::Thumbnail, || {
            let small = glance(upright, self.thumbnail_side);
            let bytes =
                encode::encode_thumbnail(&small).map_err(|cause| Error::dataset(&source.path, cause))?;
            crate::files::replace_bytes(&self.target.thumbnail(&source.name), &bytes)?;
            Ok(likeness(&small))
        })
    }

    /// Writes the crop and its captions.
    fn finish(
        &self,
        source: &Source,
        bytes: &[u8],
        mut entry: Entry,
        before: Option<&Entry>,
    ) -> Result<Done> {
        let earlier =
            before.and_then(|entry| entry.output.as_ref()).filter(|earlier| earlier.file == source.file);
        let sha256 = content_hash(bytes);
        entry.output = Some(Written {
            file: source.file.clone(),
            bytes: bytes.len() as u64,
            before: earlier.map(|earlier| earlier.sha256.clone()).filter(|hash| *hash != sha256),
            sha256,
        });
        let copied = captions::copy(source, &entry.captions, self.target)?;
        entry.captions = copied.files;
        let mut notes = copied.notes;
        self.timings.time(Stage::Write, || {
            // The journal comes first: whatever a kill leaves is known to be ours.
            self.journal.note(&entry).map_err(|e| Error::io(&self.target.journal(), &e))?;
            let is_ours = |hash: &str| earlier.is_some_and(|earlier| earlier.is(hash));
            let written = self.target.write(&source.file, bytes, is_ours)?;
            notes.extend(self.retire(before, Some(&source.file))?);
            Ok(Done { entry, written, captions: copied.written, notes })
        })
    }

    fn encoded(&self, source: &Source, upright: &RgbImage, placement: &Placement) -> Result<Vec<u8>> {
        let filter = if placement.scale > 1.0 { Filter::Lanczos } else { self.options.filter };
        let crop = self
            .timings
            .time(Stage::Cut, || resample(upright, &placement.window.into(), placement.size, filter));
        let failed = |cause: String| Error::dataset(&source.path, format!("cannot be cropped: {cause}"));
        let crop = crop.map_err(|e| failed(e.to_string()))?;
        self.timings.time(Stage::Encode, || encode::encode(&crop, self.options.format)).map_err(failed)
    }

    /// Notes a picture that the user does not want, or that fits no size.
    fn leave_out(&self, entry: Entry, before: Option<&Entry>) -> Result<Done> {
        let notes = self.retire(before, None)?;
        self.journal.note(&entry).map_err(|e| Error::io(&self.target.journal(), &e))?;
        Ok(Done { entry, written: false, captions: 0, notes })
    }

    /// Sets aside the crop that an earlier run has made, unless it is `kept`: with it in the folder, the picture
    /// would be trained twice, or against the user's wish.
    fn retire(&self, before: Option<&Entry>, kept: Option<&str>) -> Result<Vec<String>> {
        let Some(earlier) = before.and_then(|entry| entry.output.as_ref()) else { return Ok(Vec::new()) };
        let path = self.target.path(&earlier.file);
        if kept == Some(earlier.file.as_str()) || !path.exists() {
            return Ok(Vec::new());
        }
        let there = std::fs::read(&path).map_err(|e| Error::io(&path, &e))?;
        Ok(vec![if earlier.is(&content_hash(&there)) {
            let place = self.target.set_aside(&earlier.file)?;
            format!("{} is no longer wanted and was moved to {}", path.display(), place.display())
        } else {
            format!("{} is no longer wanted, but was changed by hand and stays: move it away", path.display())
        }])
    }
}
