//! Captions: where they come from, what is done to them, and which variant a step uses.
//!
//! [`Captions::open`] gets ready for a folder: it reads the table of captions, where there is one, and the filter.
//! [`Captions::of`] then gives a picture's variants, in this order: from the source, between prefix and suffix,
//! filtered, with the trigger word.

mod file_name;
mod filter;
mod names;
mod survey;
mod table;
mod text_file;
mod trigger;

pub use survey::{Alike, Captioned, Oddity, Survey, Trigger, Vocabulary};
pub use table::{Naming, TableOptions, has_metadata};
pub use text_file::{CaptionLines, TextFile};
pub use trigger::{PLACEHOLDER, has_trigger, with_trigger};

use crate::error::{Error, Result};
use crate::random::{Purpose, Stream};
use filter::Filter;
use std::path::{Path, PathBuf};
use table::Table;

/// Where a picture's caption comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CaptionStrategy {
    /// A text file of the picture's name.
    TextFile,
    /// The picture's name without its extension, `_` read as a space.
    FileName,
    /// The same text for every picture.
    InstancePrompt(String),
    /// A table with a row for each picture.
    Table(TableOptions),
}

/// Where captions come from and what is done to them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaptionOptions {
    /// Where they come from.
    pub strategy: CaptionStrategy,
    /// What the lines of a text file are.
    pub lines: CaptionLines,
    /// What text files of captions end in, such as `.txt`; else `.txt`, then `.caption`.
    pub extension: Option<String>,
    /// The caption of a picture whose source has none.
    pub fallback: Option<String>,
    /// Text put before every caption, with one space between.
    pub prefix: Option<String>,
    /// Text put behind every caption, with one space between.
    pub suffix: Option<String>,
    /// What is removed from every caption or replaced in it; see SimpleTuner's `caption_filter_list`.
    pub filter: Vec<String>,
    /// A word that takes the place of `[trigger]`, and is put before captions that lack it.
    pub trigger: Option<String>,
}

impl CaptionOptions {
    /// Captions as their source has them.
    pub fn new(strategy: CaptionStrategy) -> Self {
        Self {
            strategy,
            lines: CaptionLines::Variants,
            extension: None,
            fallback: None,
            prefix: None,
            suffix: None,
            filter: Vec::new(),
            trigger: None,
        }
    }
}

/// The captions of the pictures of one folder.
#[derive(Debug)]
pub struct Captions<'a> {
    options: &'a CaptionOptions,
    filter: Filter,
    table: Option<Table>,
}

impl<'a> Captions<'a> {
    /// Reads what holds the captions of many pictures. `pictures` lie in `folder`.
    ///
    /// # Errors
    /// A table that is missing, broken or that names none of the pictures; a filter that is no regular expression.
    pub fn open(options: &'a CaptionOptions, folder: &Path, pictures: &[PathBuf]) -> Result<Self> {
        let table = match &options.strategy {
            CaptionStrategy::Table(table) => Some(Table::open(table, folder, pictures)?),
            _ => None,
        };
        Ok(Self { options, filter: Filter::new(&options.filter)?, table })
    }

    /// Remarks on the source that do not stop a run, one line each.
    pub fn notes(&self) -> &[String] {
        self.table.as_ref().map_or(&[], Table::notes)
    }

    /// The caption variants of `picture`, at least one.
    ///
    /// # Errors
    /// A caption that is missing, empty (also by the filter) or not UTF-8.
    pub fn of(&self, picture: &Path) -> Result<Vec<String>> {
        self.source(picture)?.iter().map(|caption| self.finished(caption, picture)).collect()
    }

    /// A caption of the source after all that is done to it.
    fn finished(&self, caption: &str, picture: &Path) -> Result<String> {
        let parts = [set(&self.options.prefix), Some(caption), set(&self.options.suffix)];
        let caption = parts.into_iter().flatten().collect::<Vec<_>>().join(" ");
        let caption = self.filter.apply(&caption, picture)?;
        Ok(match set(&self.options.trigger) {
            Some(word) => with_trigger(word, &caption),
            None => caption,
        })
    }

    /// The variants as the source has them.
    fn source(&self, picture: &Path) -> Result<Vec<String>> {
        let options = self.options;
        let found = match &options.strategy {
            CaptionStrategy::TextFile => {
                let file = TextFile::beside(picture, options.extension.as_deref())?;
                file.map(|file| file.captions(picture, options.lines)).transpose()?
            }
            CaptionStrategy::FileName => Some(vec![file_name::caption(picture)?]),
            CaptionStrategy::InstancePrompt(prompt) if prompt.trim().is_empty() => {
                return Err(Error::setting("instance_prompt", "is empty"));
            }
            CaptionStrategy::InstancePrompt(prompt) => Some(vec![prompt.trim().to_owned()]),
            CaptionStrategy::Table(_) => {
                self.table.as_ref().and_then(|table| table.of(picture)).transpose()?
            }
        };
        match (found, set(&options.fallback)) {
            (Some(variants), _) => Ok(variants),
            (None, Some(fallback)) => Ok(vec![fallback.to_owned()]),
            (None, None) => Err(self.missing(picture)),
        }
    }

    fn missing(&self, picture: &Path) -> Error {
        match &self.table {
            Some(table) => table.missing(picture),
            None => text_file::missing(picture, self.options.extension.as_deref()),
        }
    }
}

/// A text that is more than space, trimmed.
fn set(text: &Option<String>) -> Option<&str> {
    text.as_deref().map(str::trim).filter(|text| !text.is_empty())
}

/// Which of `variants` captions the sample at `ordinal` in optimizer step `step` gets.
///
/// `step` counts from 0; `ordinal` numbers the samples of a step through all its micro-batches.
pub fn caption_variant(seed: u64, step: usize, ordinal: usize, variants: usize) -> usize {
    Stream::new(seed, Purpose::Caption, 0, step as u32, ordinal as u32).below(0, variants)
}

/// Whether the sample at `ordinal` in optimizer step `step` is shown with the empty caption.
pub fn caption_dropped(seed: u64, step: usize, ordinal: usize, probability: f64) -> bool {
    let draw = Stream::new(seed, Purpose::CaptionDropout, 0, step as u32, ordinal as u32).uniform(0);
    f64::from(draw) < probability
}

#[cfg(test)]
mod tests;
