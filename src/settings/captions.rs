//! What a data set says about captions beyond a word: the table that holds them, and the filter.

use super::choices::CaptionLines;
use super::keys::{Effect::*, Section, key};
use super::kind::{Kind::*, shown};
use super::places;
use super::read::{self, Given};
use super::settle::stand_for;
use crate::error::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};

/// The settings of a data set's block `parquet`.
#[rustfmt::skip]
pub const CAPTION_TABLE: &[Section] = &[Section { title: "Caption tables", keys: &[
    key("path", Source, "", Pinned,
        "The table: `.parquet`, `.csv`, `.tsv`, `.jsonl` or `.json`. Also looked for in the folder of pictures."),
    key("filename_column", Text, "", Pinned,
        "The column with the pictures' names: paths in the folder, with or without extension. By default `id`, else \
         `file_name`, `image_path`, `filename`, `image`, `path` or `file`; with caption_strategy `metadata`, `id` last."),
    key("caption_column", Texts, "", Pinned,
        "The column with captions, or a list of columns that each give a variant. A cell may hold a list of variants. \
         By default `description`, else `text`, `caption` or `prompt`; with caption_strategy `metadata`, \
         `description` last, and `tags` go behind the caption."),
    key("fallback_caption_column", Text, "", Pinned,
        "The column whose caption stands in for an empty one."),
    key("identifier_includes_extension", Switch, "false", Pinned,
        "Names in the table end in the pictures' extensions; without it, both forms are understood."),
]}];

/// The block `parquet`, resolved.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)] // The table documents them; a second wording would drift from it.
pub struct CaptionTable {
    pub path: Option<PathBuf>,
    pub filename_column: Option<String>,
    #[serde(default)]
    pub caption_column: Vec<String>,
    pub fallback_caption_column: Option<String>,
    pub identifier_includes_extension: bool,
}

/// The block and the filter.
const BLOCK: &str = "parquet";
/// The keys that name a table, which may also lie in the folder of pictures.
pub(super) const TABLES: [&str; 2] = ["csv_file", "metadata_file"];
const FILTER: &str = "caption_filter_list";
/// Keys of a data set that stand for one in the block.
const IN_THE_BLOCK: [(&str, &str); 3] =
    [("csv_file", "path"), ("metadata_file", "path"), ("csv_caption_column", "caption_column")];

/// Brings what an entry says about captions into one form. `folder` is where the list of data sets lies.
///
/// # Errors
/// A mistake in the block `parquet`, a filter that cannot be read, keys that contradict each other.
pub fn settle(given: &mut Given, folder: Option<&Path>) -> Result<()> {
    multiline_split(&mut given.values)?;
    let block = match given.values.remove(BLOCK) {
        Some(Value::Object(block)) => {
            read::object(&block, CAPTION_TABLE, folder).map_err(|e| in_block(&e))?
        }
        _ => Given::default(),
    };
    given.ignored.extend(block.ignored.into_iter().map(|(name, why)| (format!("{BLOCK}.{name}"), why)));
    let mut block = block.values;
    for (name, key) in IN_THE_BLOCK {
        if let Some(value) = given.values.remove(name) {
            stand_for(&mut block, name, key, value)?;
        }
    }
    if !block.is_empty() {
        given.values.insert(BLOCK.to_owned(), block.into());
    }
    if let Some(list) = given.values.remove(FILTER) {
        given.values.insert(FILTER.to_owned(), filter(list, folder)?.into());
    }
    Ok(())
}

/// Lets `disable_multiline_split` be one of the `caption_lines`.
pub fn multiline_split(given: &mut Map<String, Value>) -> Result<()> {
    if given.remove("disable_multiline_split") == Some(true.into()) {
        stand_for(given, "disable_multiline_split", "caption_lines", CaptionLines::Whole.name().into())?;
    }
    Ok(())
}

/// Fills in the block's defaults, the run's before those of the table of keys.
pub fn with_block_complete(values: &mut Map<String, Value>, run: &Value) -> Result<()> {
    let Some(Value::Object(mut block)) = values.remove(BLOCK) else { return Ok(()) };
    for (name, key) in
        [("parquet_filename_column", "filename_column"), ("parquet_caption_column", "caption_column")]
    {
        if !block.contains_key(key) && !run[name].is_null() {
            block.insert(key.to_owned(), run[name].clone());
        }
    }
    let mut block = read::with_defaults(&block, CAPTION_TABLE)?;
    if let Some(column @ Value::String(_)) = block.get_mut("caption_column") {
        *column = Value::Array(vec![column.take()]);
    }
    values.insert(BLOCK.to_owned(), block.into());
    Ok(())
}

/// The entries of the filter: those of a list, or of the file that a text names.
fn filter(list: Value, folder: Option<&Path>) -> Result<Vec<Value>> {
    let name = match list {
        Value::Array(entries) => return Ok(entries),
        Value::String(name) => name,
        other => {
            return Err(Error::setting(FILTER, format!("{} is neither a list nor a file", shown(&other))));
        }
    };
    let path = places::source(FILTER, &name, folder)?;
    let place = |cause: String| Error::new(ErrorKind::Settings, path.display().to_string(), cause);
    match path.extension().and_then(|e| e.to_str()) {
        Some("json") => match read::json_file(&path)? {
            Value::Array(entries) if entries.iter().all(Value::is_string) => Ok(entries),
            _ => Err(place("is not a JSON list of texts".into())
                .hint("write [ \"unwanted words\", \"s/old/new/\" ]")),
        },
        Some("txt") => {
            let bytes = std::fs::read(&path).map_err(|e| Error::io(&path, &e).hint(FILTER_HINT))?;
            let text = String::from_utf8(bytes)
                .map_err(|_| place("is not UTF-8 text".into()).hint("save it as UTF-8"))?;
            Ok(text
                .trim_start_matches('\u{feff}')
                .lines()
                .filter(|line| !line.is_empty())
                .map(Value::from)
                .collect())
        }
        _ => Err(Error::setting(
            FILTER,
            format!("{} is neither a list nor a .txt or .json file", shown(&name.into())),
        )
        .hint(FILTER_HINT)),
    }
}

const FILTER_HINT: &str =
    "it is a JSON list, or the path of a .txt or .json file: what to remove, or s/old/new/";

fn in_block(error: &Error) -> Error {
    Error { place: error.place.replacen('`', &format!("`{BLOCK}."), 1), ..error.clone() }
}
