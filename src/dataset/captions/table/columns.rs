//! Which columns of a table matter.

use super::{Naming, TableOptions};
use crate::error::{Error, Result};
use std::path::Path;

/// Where captions are looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CaptionColumns {
    /// In each of these, which together give the variants.
    All(Vec<String>),
    /// In the first of these that is not empty.
    First(Vec<String>),
}

/// The columns by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Columns {
    /// The columns that may hold the pictures' names; the first that is there does.
    pub names: Vec<String>,
    /// Where captions are.
    pub captions: CaptionColumns,
    /// The column whose caption stands in for an empty one.
    pub fallback: Option<String>,
    /// The column with tags to put behind the caption.
    pub tags: Option<String>,
}

/// The usual names of the columns with pictures' names and with captions.
const NAMES: [&str; 7] = ["file_name", "image_path", "filename", "image", "path", "file", "id"];
const CAPTIONS: [&str; 5] = ["text", "caption", "prompt", "description", "captions"];
/// SimpleTuner's defaults.
const SIMPLETUNER: (&str, &str) = ("id", "description");
/// Where sd-scripts keeps tags beside captions.
const TAGS: &str = "tags";

impl Columns {
    /// The columns that the settings name, else the usual ones.
    pub fn new(options: &TableOptions) -> Self {
        let usual = |first: &str, others: &[&str]| -> Vec<String> {
            let first = Some(first).filter(|_| options.naming == Naming::SimpleTuner);
            first.into_iter().chain(others.iter().copied()).map(str::to_owned).collect()
        };
        let is_set = !options.caption_columns.is_empty();
        Self {
            names: match &options.filename_column {
                Some(column) => vec![column.clone()],
                None => usual(SIMPLETUNER.0, &NAMES),
            },
            captions: match is_set {
                true => CaptionColumns::All(options.caption_columns.clone()),
                false => CaptionColumns::First(usual(SIMPLETUNER.1, &CAPTIONS)),
            },
            fallback: options.fallback_caption_column.clone(),
            tags: (!is_set && options.naming == Naming::Metadata).then(|| TAGS.to_owned()),
        }
    }

    /// The same among the columns `there` of the table at `path`, with one column of names.
    ///
    /// # Errors
    /// A column that is set and not there, or none that could hold names or captions; the error says which there are.
    pub fn among(&self, path: &Path, there: &[&str]) -> Result<Self> {
        let is_there = |column: &String| there.contains(&column.as_str());
        let lacks = |key: &str, wanted: &[String]| lacks(path, key, wanted, there);
        let names = vec![self.name_among(path, there)?];
        let tags = self.tags.clone().filter(is_there);
        let captions = match &self.captions {
            CaptionColumns::All(columns) => {
                if let Some(unknown) = columns.iter().find(|column| !is_there(column)) {
                    return Err(lacks("caption_column", std::slice::from_ref(unknown)));
                }
                self.captions.clone()
            }
            CaptionColumns::First(columns) => {
                let found: Vec<String> = columns.iter().filter(|column| is_there(column)).cloned().collect();
                if found.is_empty() && tags.is_none() {
                    return Err(lacks("caption_column", columns));
                }
                CaptionColumns::First(found)
            }
        };
        if let Some(unknown) = self.fallback.as_ref().filter(|column| !is_there(column)) {
            return Err(lacks("fallback_caption_column", std::slice::from_ref(unknown)));
        }
        Ok(Self { names, captions, fallback: self.fallback.clone(), tags })
    }

    /// The column of names among the columns `there`.
    pub fn name_among(&self, path: &Path, there: &[&str]) -> Result<String> {
        let name = self.names.iter().find(|name| there.contains(&name.as_str()));
        name.cloned().ok_or_else(|| lacks(path, "filename_column", &self.names, there))
    }

    /// Every column that is read.
    pub fn all(&self) -> impl Iterator<Item = &str> {
        let (CaptionColumns::All(captions) | CaptionColumns::First(captions)) = &self.captions;
        self.names.iter().chain(captions).chain(&self.fallback).chain(&self.tags).map(String::as_str)
    }
}

/// The error of a table that has none of the columns `wanted`, which the setting `key` could name.
fn lacks(path: &Path, key: &str, wanted: &[String], there: &[&str]) -> Error {
    let wanted: Vec<_> = wanted.iter().map(|column| format!("`{column}`")).collect();
    let there = if there.is_empty() { "none".to_owned() } else { there.join(", ") };
    Error::dataset(path, format!("has no column {}; its columns are {there}", wanted.join(" or ")))
        .hint(format!("set `{key}` to one of these, in the data set's block `parquet`"))
}
