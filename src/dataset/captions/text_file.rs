//! Captions in text files beside the pictures.

use crate::error::{Error, ErrorKind, Result};
use std::path::{Path, PathBuf};

/// What caption files end in, in the order in which they are looked for.
const EXTENSIONS: [&str; 2] = ["txt", "caption"];

/// What the lines of a text file are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CaptionLines {
    /// Each line that is not blank is a variant, as SimpleTuner reads it.
    Variants,
    /// The first line that is not blank is the caption, as sd-scripts reads it.
    First,
    /// All lines together are one caption.
    Whole,
}

/// A text file as it stands on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextFile {
    /// Where it lies.
    pub path: PathBuf,
    /// Its text, without a byte-order mark.
    pub text: String,
    /// Whether it begins with a byte-order mark.
    pub has_byte_order_mark: bool,
}

impl TextFile {
    /// The caption file beside `picture`, if there is one. `extension` is what it must end in.
    ///
    /// # Errors
    /// A file that cannot be read, or that is not UTF-8.
    pub fn beside(picture: &Path, extension: Option<&str>) -> Result<Option<Self>> {
        let Some(path) = candidates(picture, extension).into_iter().find(|file| file.is_file()) else {
            return Ok(None);
        };
        let bytes = std::fs::read(&path).map_err(|e| {
            Error { kind: ErrorKind::Dataset, ..Error::io(&path, &e) }.hint(belongs_to(picture))
        })?;
        let text = String::from_utf8(bytes)
            .map_err(|_| Error::dataset(&path, "is not UTF-8 text").hint("save the caption as UTF-8"))?;
        let unmarked = text.trim_start_matches('\u{feff}');
        let has_byte_order_mark = unmarked.len() < text.len();
        Ok(Some(Self { path, text: unmarked.to_owned(), has_byte_order_mark }))
    }

    /// The lines that are not blank, trimmed.
    pub fn lines(&self) -> impl Iterator<Item = &str> {
        self.text.lines().map(str::trim).filter(|line| !line.is_empty())
    }

    /// The caption variants of `picture`, at least one.
    ///
    /// # Errors
    /// A file in which nothing is written.
    pub(super) fn captions(&self, picture: &Path, lines: CaptionLines) -> Result<Vec<String>> {
        let captions: Vec<String> = match lines {
            CaptionLines::Variants => self.lines().map(str::to_owned).collect(),
            CaptionLines::First => self.lines().take(1).map(str::to_owned).collect(),
            CaptionLines::Whole => vec![self.text.trim().replace("\r\n", "\n")],
        };
        if captions.iter().all(String::is_empty) {
            return Err(Error::dataset(&self.path, "is empty").hint(belongs_to(picture)));
        }
        Ok(captions)
    }
}

/// The error of a picture without a caption file.
pub(super) fn missing(picture: &Path, extension: Option<&str>) -> Error {
    let file = candidates(picture, extension).swap_remove(0);
    let name = file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    Error::dataset(picture, format!("has no caption: {} is missing", file.display()))
        .hint(format!("write {name}, choose another caption_strategy, or set skip_broken_images=true"))
}

/// The files that may hold the caption of `picture`, at least one.
fn candidates(picture: &Path, extension: Option<&str>) -> Vec<PathBuf> {
    match extension.map(|extension| extension.trim().trim_start_matches('.')) {
        Some(extension) if !extension.is_empty() => vec![picture.with_extension(extension)],
        _ => EXTENSIONS.iter().map(|extension| picture.with_extension(extension)).collect(),
    }
}

/// Says whose caption a file is.
fn belongs_to(picture: &Path) -> String {
    format!("it must hold the caption of {}; or set skip_broken_images=true", picture.display())
}
