//! TensorBoard event files, written by hand: records of length, masked crc32c and a protobuf `Event`.
//!
//! Only the fields that TensorBoard needs for scalars, images and restarts are encoded; their numbers are those of
//! `event.proto` and `summary.proto`.

use super::png;
use crate::error::{Error, Result};
use image::RgbImage;
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind as IoErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// An open event file.
#[derive(Debug)]
pub struct EventWriter {
    path: PathBuf,
    file: File,
}

impl EventWriter {
    /// Starts a new event file in `folder` for a run that goes on after `resumed_step` (0 for a fresh run).
    ///
    /// TensorBoard then hides what earlier files say about later steps.
    ///
    /// # Errors
    /// A folder that cannot be written.
    pub fn create(folder: &Path, resumed_step: u64) -> Result<Self> {
        std::fs::create_dir_all(folder).map_err(|e| Error::io(folder, &e))?;
        let (path, file) = create_unique(folder)?;
        let mut writer = Self { path, file };
        writer.write(&event(0, &bytes_field(3, b"brain.Event:2")))?;
        writer.write(&event(resumed_step + 1, &bytes_field(7, &varint_field(1, SESSION_START))))?;
        Ok(writer)
    }

    /// Where the events go.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Adds one value for each (tag, value).
    pub fn scalars(&mut self, step: u64, values: &[(&str, f64)]) -> Result<()> {
        let mut summary = Vec::new();
        for (tag, value) in values {
            let mut entry = bytes_field(1, tag.as_bytes());
            entry.extend(key(2, FIXED32));
            entry.extend((*value as f32).to_le_bytes());
            summary.extend(bytes_field(1, &entry));
        }
        self.write(&event(step, &bytes_field(5, &summary)))
    }

    /// Adds a picture under `tag`.
    pub fn image(&mut self, step: u64, tag: &str, picture: &RgbImage) -> Result<()> {
        let encoded = png::encode(picture, &[]).map_err(|e| Error::io(&self.path, &e))?;
        let mut image = varint_field(1, picture.height().into());
        image.extend(varint_field(2, picture.width().into()));
        image.extend(varint_field(3, 3));
        image.extend(bytes_field(4, &encoded));
        let mut entry = bytes_field(1, tag.as_bytes());
        entry.extend(bytes_field(4, &image));
        self.write(&event(step, &bytes_field(5, &bytes_field(1, &entry))))
    }

    /// Writes a record in one piece, so that a reader never waits for its end.
    fn write(&mut self, event: &[u8]) -> Result<()> {
        let length = (event.len() as u64).to_le_bytes();
        let mut record = length.to_vec();
        record.extend(masked_crc(&length).to_le_bytes());
        record.extend(event);
        record.extend(masked_crc(event).to_le_bytes());
        self.file.write_all(&record).map_err(|e| Error::io(&self.path, &e))
    }
}

/// `events.out.tfevents.<seconds>.<host>`, with a number after it if two runs start in one second.
fn create_unique(folder: &Path) -> Result<(PathBuf, File)> {
    let name = format!("events.out.tfevents.{:010}.{}", wall_time() as u64, host());
    let mut path = folder.join(&name);
    for number in 1.. {
        match OpenOptions::new().append(true).create_new(true).open(&path) {
            Ok(file) => return Ok((path, file)),
            Err(e) if e.kind() == IoErrorKind::AlreadyExists => {
                path = folder.join(format!("{name}.{number}"))
            }
            Err(e) => return Err(Error::io(&path, &e)),
        }
    }
    Err(Error::io(&path, &IoErrorKind::AlreadyExists.into()))
}

fn wall_time() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |time| time.as_secs_f64())
}

fn host() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let safe: String =
        name.trim().chars().filter(|c| c.is_ascii_alphanumeric() || "-_.".contains(*c)).collect();
    if safe.is_empty() { "localhost".to_owned() } else { safe }
}

/// Protobuf wire types.
const VARINT: u64 = 0;
const FIXED64: u64 = 1;
const LENGTH_DELIMITED: u64 = 2;
const FIXED32: u64 = 5;

/// `SessionLog.SessionStatus.START`.
const SESSION_START: u64 = 1;

/// An `Event` of now with `content` (an encoded field) in it.
fn event(step: u64, content: &[u8]) -> Vec<u8> {
    let mut event = key(1, FIXED64);
    event.extend(wall_time().to_le_bytes());
    event.extend(varint_field(2, step));
    event.extend(content);
    event
}

fn key(field: u64, wire_type: u64) -> Vec<u8> {
    varint(field << 3 | wire_type)
}

fn varint_field(field: u64, value: u64) -> Vec<u8> {
    [key(field, VARINT), varint(value)].concat()
}

fn bytes_field(field: u64, bytes: &[u8]) -> Vec<u8> {
    [key(field, LENGTH_DELIMITED), varint(bytes.len() as u64), bytes.to_vec()].concat()
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

/// The checksum of TensorFlow's record files, disguised so that a checksum of checksums is no weaker.
fn masked_crc(bytes: &[u8]) -> u32 {
    crc32c::crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The payloads of a record file, with every length and checksum checked.
    fn records(bytes: &[u8]) -> Vec<Vec<u8>> {
        let mut rest = bytes;
        let mut found = Vec::new();
        while !rest.is_empty() {
            let word = |at: usize| u32::from_le_bytes(rest[at..at + 4].try_into().unwrap());
            let length = u64::from_le_bytes(rest[..8].try_into().unwrap()) as usize;
            assert_eq!(word(8), masked_crc(&rest[..8]));
            let payload = &rest[12..12 + length];
            assert_eq!(word(12 + length), masked_crc(payload));
            found.push(payload.to_vec());
            rest = &rest[16 + length..];
        }
        found
    }

    fn contains(haystack: &[u8], needle: &[u8]) -> bool {
        haystack.windows(needle.len()).any(|window| window == needle)
    }

    /// CRC-32C of the nine digits is the published check value e3069283; masked, it is this.
    #[test]
    fn the_checksum_is_masked_crc32c() {
        assert_eq!(masked_crc(b"123456789"), 0xc78a_b0e5);
    }

    #[test]
    fn scalars_and_images_are_framed_events() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = EventWriter::create(folder.path(), 0).unwrap();
        writer.scalars(300, &[("train/loss", 0.5), ("train/lr", 1e-4)]).unwrap();
        writer.image(300, "validation/cat", &RgbImage::new(3, 2)).unwrap();
        let records = records(&std::fs::read(writer.path()).unwrap());
        assert_eq!(records.len(), 4);
        assert!(contains(&records[0], b"brain.Event:2"));
        // Step 300 is field 2 as a varint; the summary follows.
        assert_eq!(records[2][9..12], [0x10, 0xac, 0x02]);
        assert!(contains(&records[2], b"\x0a\x0atrain/loss\x15\x00\x00\x00\x3f"));
        assert!(contains(&records[3], b"\x08\x02\x10\x03\x18\x03\x22"));
        assert!(contains(&records[3], b"PNG\r\n\x1a\n"));
    }

    #[test]
    fn a_resumed_run_says_from_which_step_on_it_writes() {
        let folder = tempfile::tempdir().unwrap();
        let first = EventWriter::create(folder.path(), 0).unwrap();
        let second = EventWriter::create(folder.path(), 41).unwrap();
        assert_ne!(first.path(), second.path());
        let records = records(&std::fs::read(second.path()).unwrap());
        assert_eq!(records[1][9..], [0x10, 42, 0x3a, 2, 8, 1]);
    }

    #[test]
    fn the_file_is_named_as_tensorboard_expects() {
        let folder = tempfile::tempdir().unwrap();
        let writer = EventWriter::create(folder.path(), 0).unwrap();
        let name = writer.path().file_name().unwrap().to_str().unwrap().to_owned();
        let mut parts = name.strip_prefix("events.out.tfevents.").unwrap().splitn(2, '.');
        assert!(parts.next().unwrap().parse::<u64>().unwrap() > 1_600_000_000);
        assert!(!parts.next().unwrap().is_empty());
    }
}
