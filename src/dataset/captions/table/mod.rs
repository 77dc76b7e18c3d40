//! Captions in a table with a row for each picture.
//!
//! A table is read once, row by row, and only the rows that name a picture of the folder are kept.

mod cell;
mod columns;
mod delimited;
mod json;
mod parquet;
mod row;

use super::names::{self, Match, Names};
use crate::error::{Error, Result};
use columns::Columns;
use row::Row;
use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};

/// How the columns of a table are called where the settings do not say it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Naming {
    /// As SimpleTuner expects them: `id` and `description`; if these are not there, as the others do.
    SimpleTuner,
    /// As Hugging Face's ImageFolder (`file_name`, `text`) and sd-scripts (`image_path`, `caption`, `tags`) do.
    Metadata,
}

/// Where a table is and which of its columns matter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableOptions {
    /// The table; without it, the `metadata.jsonl`, `.csv`, `.parquet` or `.json` in the folder and the folders in it.
    pub path: Option<PathBuf>,
    /// What the columns below are called if they are not set.
    pub naming: Naming,
    /// The column with the pictures' names.
    pub filename_column: Option<String>,
    /// The columns with captions, each of which gives a variant.
    pub caption_columns: Vec<String>,
    /// The column whose caption stands in for an empty one.
    pub fallback_caption_column: Option<String>,
    /// Whether the names end in the pictures' extensions; otherwise both forms are understood.
    pub names_have_extensions: bool,
}

/// The names of tables that are looked for in a folder.
const METADATA: [&str; 4] = ["metadata.jsonl", "metadata.csv", "metadata.parquet", "metadata.json"];

/// Whether a table of captions lies in `folder` itself under one of the usual names.
pub fn has_metadata(folder: &Path) -> bool {
    METADATA.iter().any(|name| folder.join(name).is_file())
}

/// What a row says about a picture.
#[derive(Debug)]
struct Entry {
    table: usize,
    place: String,
    surely: Match,
    captions: std::result::Result<Vec<String>, String>,
}

/// The captions that the tables of a folder have for its pictures.
#[derive(Debug)]
pub(super) struct Table {
    folder: PathBuf,
    tables: Vec<PathBuf>,
    entries: HashMap<PathBuf, Entry>,
    /// A name that stands in a table, as an example.
    example: String,
    notes: Vec<String>,
}

impl Table {
    /// Reads the tables of `folder`, in which `pictures` lie.
    ///
    /// # Errors
    /// No table, one that cannot be read to its end, that lacks a column, names a picture twice, or names none of them.
    pub fn open(options: &TableOptions, folder: &Path, pictures: &[PathBuf]) -> Result<Self> {
        let tables = match &options.path {
            Some(path) => vec![beside_or_in(path, folder)?],
            None => metadata_in(folder, pictures)?,
        };
        let columns = Columns::new(options);
        let names = Names::new(folder, pictures);
        let mut table = Self {
            folder: folder.to_owned(),
            tables,
            entries: HashMap::new(),
            example: String::new(),
            notes: Vec::new(),
        };
        for index in 0..table.tables.len() {
            let path = table.tables[index].clone();
            let base = match (&options.path, path.parent()) {
                (None, Some(parent)) if parent != folder => names::relative(folder, parent),
                _ => String::new(),
            };
            let mut reading = Reading {
                table: &mut table,
                index,
                base,
                options,
                names: &names,
                pictures,
                counts: Counts::default(),
            };
            read(&path, &columns, &mut |row| reading.take(row))?;
            let counts = reading.counts;
            table.remark(&path, &counts);
        }
        table.refuse_strangers()?;
        Ok(table)
    }

    /// Remarks, one line each.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// The captions of `picture`, at least one; nothing if no row names it.
    pub fn of(&self, picture: &Path) -> Option<Result<Vec<String>>> {
        let entry = self.entries.get(picture)?;
        Some(entry.captions.clone().map_err(|cause| {
            let name = names::relative(&self.folder, picture);
            Error::dataset(&self.tables[entry.table], format!("{} ({name}): {cause}", entry.place)).hint(
                "write the caption there, name a fallback_caption_column, or set skip_broken_images=true",
            )
        }))
    }

    /// The error of a picture that no row names.
    pub fn missing(&self, picture: &Path) -> Error {
        let tables: Vec<_> = self.tables.iter().map(|table| table.display().to_string()).collect();
        let name = names::relative(&self.folder, picture);
        Error::dataset(picture, format!("has no caption: no row of {} names it", tables.join(" or "))).hint(
            format!(
                "add a row for `{name}` (others are called like `{}`), or set skip_broken_images=true",
                self.example
            ),
        )
    }

    /// Says what a table holds besides the captions of the pictures.
    fn remark(&mut self, path: &Path, counts: &Counts) {
        if let Some(first) = &counts.first_stranger {
            let (strangers, rows, folder) = (counts.strangers, counts.rows, self.folder.display());
            let path = path.display();
            self.notes.push(format!(
                "{path}: {strangers} of {rows} rows name no picture in {folder}; the first is `{first}`"
            ));
        }
    }

    /// Refuses tables none of whose rows names a picture: they are hardly meant.
    fn refuse_strangers(&self) -> Result<()> {
        let Some(path) = self.tables.first().filter(|_| self.entries.is_empty()) else { return Ok(()) };
        if self.example.is_empty() {
            return Err(Error::dataset(path, "has no rows").hint("write a row for each picture"));
        }
        let cause = format!(
            "no row names a picture in {}; rows are called like `{}`",
            self.folder.display(),
            self.example
        );
        Err(Error::dataset(path, cause).hint(
            "set filename_column to the column that holds the pictures' names, with or without extension",
        ))
    }
}

/// How many rows a table has, and which of them name no picture.
#[derive(Debug, Default)]
struct Counts {
    rows: usize,
    strangers: usize,
    first_stranger: Option<String>,
}

/// A table that is being read.
struct Reading<'a> {
    table: &'a mut Table,
    index: usize,
    base: String,
    options: &'a TableOptions,
    names: &'a Names,
    pictures: &'a [PathBuf],
    counts: Counts,
}

impl Reading<'_> {
    /// Keeps a row if it names a picture.
    fn take(&mut self, row: Row) -> Result<()> {
        let path = &self.table.tables[self.index];
        let name = row.name().map_err(|cause| {
            Error::dataset(path, format!("{}: {cause}", row.place)).hint("each row must name its picture")
        })?;
        self.counts.rows += 1;
        if self.table.example.is_empty() {
            self.table.example.clone_from(&name);
        }
        let found = self.names.find(&name, &self.base, self.options.names_have_extensions);
        let Some((surely, found)) = found else {
            self.counts.strangers += 1;
            self.counts.first_stranger.get_or_insert(name);
            return Ok(());
        };
        let captions = row.captions();
        for &picture in found {
            self.keep(
                &self.pictures[picture],
                Entry { table: self.index, place: row.place.clone(), surely, captions: captions.clone() },
            )?;
        }
        Ok(())
    }

    /// Keeps what a row says about `picture`, unless another row names it more surely.
    fn keep(&mut self, picture: &Path, entry: Entry) -> Result<()> {
        match self.table.entries.get(picture) {
            Some(earlier) if earlier.surely < entry.surely => return Ok(()),
            Some(earlier) if earlier.surely == entry.surely && earlier.captions != entry.captions => {
                let tables = &self.table.tables;
                let cause = format!(
                    "{} is about {}, as is {}{}, with another caption",
                    entry.place,
                    names::relative(&self.table.folder, picture),
                    earlier.place,
                    if earlier.table == entry.table {
                        String::new()
                    } else {
                        format!(" of {}", tables[earlier.table].display())
                    }
                );
                return Err(Error::dataset(&tables[entry.table], cause).hint(
                    "keep one of the two; several captions of a picture are a list in one cell, or columns",
                ));
            }
            _ => {}
        }
        self.table.entries.insert(picture.to_owned(), entry);
        Ok(())
    }
}

/// Reads the table at `path` row by row, in the form that its extension names.
fn read(path: &Path, columns: &Columns, each: &mut dyn FnMut(Row) -> Result<()>) -> Result<()> {
    let extension = path.extension().map(|e| e.to_string_lossy().to_lowercase()).unwrap_or_default();
    match extension.as_str() {
        "csv" => delimited::read(path, b',', columns, each),
        "tsv" => delimited::read(path, b'\t', columns, each),
        "jsonl" | "ndjson" => json::read_lines(path, columns, each),
        "json" => json::read_document(path, columns, each),
        "parquet" | "pq" => parquet::read(path, columns, each),
        _ => Err(Error::dataset(path, "is no table that can be read")
            .hint("tables are .parquet, .csv, .tsv, .jsonl or .json files")),
    }
}

/// `path`, or the file of that name in `folder`.
fn beside_or_in(path: &Path, folder: &Path) -> Result<PathBuf> {
    if path.is_file() {
        return Ok(path.to_owned());
    }
    let inside = path.file_name().map(|name| folder.join(name)).filter(|inside| inside.is_file());
    inside.ok_or_else(|| {
        Error::dataset(path, "no such table of captions")
            .hint(format!("it is not in {} either", folder.display()))
    })
}

/// The tables called `metadata` in `folder` and in the folders below it that hold pictures.
fn metadata_in(folder: &Path, pictures: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut folders = BTreeSet::from([folder]);
    for picture in pictures {
        folders.extend(
            picture.ancestors().skip(1).take_while(|above| *above != folder && above.starts_with(folder)),
        );
    }
    let mut tables = Vec::new();
    for place in folders {
        let mut here = METADATA.iter().map(|name| place.join(name)).filter(|path| path.is_file());
        if let Some(table) = here.next() {
            if let Some(other) = here.next() {
                let name = other.file_name().unwrap_or_default().to_string_lossy().into_owned();
                return Err(Error::dataset(
                    &table,
                    format!("is not the only table there: {name} lies beside it"),
                )
                .hint("name the one that is meant with `metadata_file`"));
            }
            tables.push(table);
        }
    }
    if tables.is_empty() {
        return Err(Error::dataset(folder, format!("holds none of {}", METADATA.join(", ")))
            .hint("name the table of captions with `metadata_file`, or choose another caption_strategy"));
    }
    Ok(tables)
}

#[cfg(test)]
mod tests;
