//! A row of a table: the picture that it names, and the captions that it has for it.

use super::cell::Cell;
use super::columns::{CaptionColumns, Columns};

/// A row, with the cells of the columns that matter.
#[derive(Debug)]
pub struct Row<'a> {
    /// Where it stands, such as `line 3`.
    pub place: String,
    /// The columns, one of names.
    pub columns: &'a Columns,
    /// The cells by column; one that is absent is empty.
    pub cells: Vec<(&'a str, Cell)>,
}

impl Row<'_> {
    /// The name of its picture, or why there is none.
    pub fn name(&self) -> Result<String, String> {
        let column = self.columns.names.first().map_or("", String::as_str);
        match self.cell(column) {
            Cell::Text(name) | Cell::Number(name) => Ok(name.trim().to_owned()),
            Cell::Empty => Err(format!("column `{column}` is empty")),
            Cell::List(_) => Err(format!("column `{column}` holds a list instead of a name")),
            Cell::Other(what) => Err(format!("column `{column}` holds {what} instead of a name")),
        }
    }

    /// The caption variants, at least one, or why there is none.
    pub fn captions(&self) -> Result<Vec<String>, String> {
        let mut captions = self.caption_columns()?;
        if let Some(fallback) = self.columns.fallback.as_deref().filter(|_| captions.is_empty()) {
            captions = self.texts(fallback)?;
        }
        let tags = match &self.columns.tags {
            Some(column) => self.texts(column)?.join(", "),
            None => String::new(),
        };
        match (captions.is_empty(), tags.is_empty()) {
            (true, true) => Err(self.emptiness()),
            (true, false) => Ok(vec![tags]),
            (false, true) => Ok(captions),
            (false, false) => Ok(captions.iter().map(|caption| format!("{caption}, {tags}")).collect()),
        }
    }

    fn caption_columns(&self) -> Result<Vec<String>, String> {
        match &self.columns.captions {
            CaptionColumns::All(columns) => {
                let texts = columns.iter().map(|column| self.texts(column)).collect::<Result<Vec<_>, _>>()?;
                Ok(texts.concat())
            }
            CaptionColumns::First(columns) => {
                let filled = columns.iter().find(|column| *self.cell(column) != Cell::Empty);
                filled.map_or(Ok(Vec::new()), |column| self.texts(column))
            }
        }
    }

    fn texts(&self, column: &str) -> Result<Vec<String>, String> {
        self.cell(column).captions().map_err(|what| format!("column `{column}` holds {what} instead of text"))
    }

    fn emptiness(&self) -> String {
        let (CaptionColumns::All(columns) | CaptionColumns::First(columns)) = &self.columns.captions;
        let columns = columns.iter().chain(&self.columns.fallback).chain(&self.columns.tags);
        let names: Vec<_> = columns.map(|column| format!("`{column}`")).collect();
        match names.as_slice() {
            [only] => format!("column {only} is empty"),
            several => format!("the columns {} are empty", several.join(" and ")),
        }
    }

    fn cell(&self, column: &str) -> &Cell {
        let found = self.cells.iter().find(|(name, _)| *name == column);
        found.map_or(&Cell::Empty, |(_, cell)| cell)
    }
}
