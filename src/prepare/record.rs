//! What was made of each picture: `prepare.json`, and the journal that a run keeps until it is written.

use super::focus::{Focus, FocusKind};
use super::region::Region;
use super::target::Target;
use super::{Doubt, Face};
use crate::error::{Error, ErrorKind, Result};
use crate::files;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::sync::Mutex;

/// What became of a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It is in the target folder.
    Made,
    /// The user does not want it.
    Excluded,
    /// It does not fit any size.
    Refused,
    /// It was made, but its source is no longer there.
    Vanished,
}

/// Width and height in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extent {
    /// Pixels from left to right.
    pub width: u32,
    /// Pixels from top to bottom.
    pub height: u32,
}

/// What the picture is about.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FocusRecord {
    /// How it was found.
    pub kind: FocusKind,
    /// Where it is.
    #[serde(rename = "box")]
    pub region: Region,
    /// All faces, the largest first.
    pub faces: Vec<Face>,
    /// From 0, a guess, to 1.
    pub certainty: f64,
}

impl From<Focus> for FocusRecord {
    fn from(focus: Focus) -> Self {
        let Focus { kind, region, faces, certainty, .. } = focus;
        Self { kind, region, faces, certainty }
    }
}

/// A reason to look at a crop.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Remark {
    /// What sort of reason; the review sheet filters by it.
    pub kind: String,
    /// The reason in words.
    pub text: String,
    /// How much the crop needs a look, from 0 to 1.
    pub weight: f64,
}

impl From<Doubt> for Remark {
    fn from(doubt: Doubt) -> Self {
        let kind = match serde_json::to_value(doubt) {
            Ok(serde_json::Value::String(kind)) => kind,
            Ok(serde_json::Value::Object(fields)) => fields.keys().next().cloned().unwrap_or_default(),
            _ => String::new(),
        };
        Self { kind, text: doubt.to_string(), weight: doubt.weight() }
    }
}

/// The file that a picture was read from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Original {
    /// Its length.
    pub bytes: u64,
    /// When it was last changed, in nanoseconds since 1970.
    pub modified: u64,
    /// Its hash.
    pub sha256: String,
}

/// A file in the target folder that the program has written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Written {
    /// Its name from the target folder.
    pub file: String,
    /// Its length.
    pub bytes: u64,
    /// Its hash.
    pub sha256: String,
    /// The hash of what stood there before, which is there still if the run was interrupted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
}

impl Written {
    /// Whether the program has written a file of this hash here.
    pub(super) fn is(&self, sha256: &str) -> bool {
        self.sha256 == sha256 || self.before.as_deref() == Some(sha256)
    }
}

/// What was made of one picture.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// The picture, from the source folder.
    pub source: String,
    /// What became of it.
    pub state: State,
    /// The crop.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<Written>,
    /// The size of the upright picture.
    pub picture: Extent,
    /// The size of the crop; none for a picture that fits no size.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<Extent>,
    /// What the picture is about, in pixels of the upright picture.
    pub focus: FocusRecord,
    /// The part that the crop shows, in pixels of the upright picture.
    #[serde(rename = "box", default, skip_serializing_if = "Option::is_none")]
    pub window: Option<Region>,
    /// Pixels of the crop per pixel of the picture.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale: Option<f64>,
    /// Why this crop, or why none.
    pub reason: String,
    /// Reasons to look at it, the gravest first.
    pub doubts: Vec<Remark>,
    /// Captions that were copied.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub captions: Vec<Written>,
    /// What it was made from.
    pub original: Original,
    /// A hash of the options and the user's wish that it was made by.
    pub options: String,
    /// What it looks like, for finding near-duplicates: 32 hexadecimal digits.
    pub likeness: String,
    /// The first of the pictures that look like it, itself included; none if there is no other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub like: Option<String>,
}

impl Entry {
    /// How much it needs a look, from 0 to 1: of two with the same gravest doubt, the one with more comes first.
    pub fn doubt(&self) -> f64 {
        1.0 - self.doubts.iter().map(|doubt| 1.0 - doubt.weight).product::<f64>()
    }
}

/// `prepare.json`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Record {
    /// The program that wrote it.
    pub program: String,
    /// The source folder.
    pub source: String,
    /// The sizes to choose from.
    pub sizes: Vec<String>,
    /// How far a picture may be enlarged.
    pub max_enlarge: f64,
    /// A hash of the user's wishes.
    pub overrides: String,
    /// Files with the captions of many pictures that were copied.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub metadata: Vec<Written>,
    /// Sorted by source.
    pub pictures: Vec<Entry>,
}

/// The record as it stands, and what earlier runs have made, by source. A run that was interrupted has left a journal; what stands in it came
/// after the record.
///
/// # Errors
/// A record that somebody has damaged.
pub(super) fn read(target: &Target) -> Result<(Record, BTreeMap<String, Entry>)> {
    let mut record: Record = match std::fs::read(target.record()) {
        Ok(bytes) => serde_json::from_slice(&bytes).map_err(|e| unreadable(&target.record(), &e))?,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Record::default(),
        Err(e) => return Err(Error::io(&target.record(), &e)),
    };
    let mut entries: BTreeMap<String, Entry> = by_source(std::mem::take(&mut record.pictures));
    if let Ok(journal) = File::open(target.journal()) {
        // The last line may be half written.
        let lines = BufReader::new(journal).lines().map_while(std::io::Result::ok);
        entries.extend(by_source(lines.filter_map(|line| serde_json::from_str(&line).ok())));
    }
    Ok((record, entries))
}

fn by_source(entries: impl IntoIterator<Item = Entry>) -> BTreeMap<String, Entry> {
    entries.into_iter().map(|entry| (entry.source.clone(), entry)).collect()
}

fn unreadable(path: &Path, error: &serde_json::Error) -> Error {
    Error::new(ErrorKind::Files, path.display().to_string(), format!("is no record of `prepare`: {error}"))
        .hint("move it elsewhere and run again; pictures that are there are recognised and stay")
}

/// Writes the record and ends the journal; whether the record is another one than before.
pub(super) fn write(target: &Target, record: &Record) -> Result<bool> {
    let path = target.record();
    let mut bytes = serde_json::to_vec_pretty(record).map_err(|e| unreadable(&path, &e))?;
    bytes.push(b'\n');
    let changed = std::fs::read(&path).ok().as_ref() != Some(&bytes);
    if changed {
        files::replace_bytes(&path, &bytes)?;
    }
    match std::fs::remove_file(target.journal()) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Error::io(&target.journal(), &e)),
        _ => Ok(changed),
    }
}

/// Entries as they come, a line each, so that a run that is killed has lost nothing.
pub(super) struct Journal(Mutex<File>);

impl Journal {
    /// Opens it behind what an interrupted run has left.
    pub(super) fn open(target: &Target) -> Result<Self> {
        let path = target.journal();
        let file = File::options().create(true).append(true).open(&path).map_err(|e| Error::io(&path, &e))?;
        let journal = Self(Mutex::new(file));
        // Ends a line that a kill may have cut.
        journal.append(b"\n").map_err(|e| Error::io(&path, &e))?;
        Ok(journal)
    }

    /// Notes what is about to be written.
    pub(super) fn note(&self, entry: &Entry) -> std::io::Result<()> {
        let mut line = serde_json::to_vec(entry)?;
        line.push(b'\n');
        self.append(&line)
    }

    fn append(&self, bytes: &[u8]) -> std::io::Result<()> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).write_all(bytes)
    }
}
