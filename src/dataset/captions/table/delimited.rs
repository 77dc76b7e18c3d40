//! Tables whose cells are separated by commas or tabs.

use super::cell::Cell;
use super::columns::Columns;
use super::row::Row;
use crate::error::{Error, Result};
use csv::{ErrorKind, StringRecord};
use std::path::Path;

/// Reads the table row by row; the first line names the columns.
pub fn read(
    path: &Path,
    delimiter: u8,
    columns: &Columns,
    each: &mut dyn FnMut(Row) -> Result<()>,
) -> Result<()> {
    let file = std::fs::File::open(path).map_err(|e| Error::io(path, &e))?;
    let mut table = csv::ReaderBuilder::new().delimiter(delimiter).from_reader(std::io::BufReader::new(file));
    let header = table.headers().map_err(|e| broken(path, &e))?.clone();
    let header: Vec<&str> = header.iter().map(|name| name.trim_start_matches('\u{feff}').trim()).collect();
    let columns = columns.among(path, &header)?;
    let places: Vec<(&str, usize)> = columns
        .all()
        .filter_map(|column| Some((column, header.iter().position(|name| *name == column)?)))
        .collect();
    let mut record = StringRecord::new();
    while table.read_record(&mut record).map_err(|e| broken(path, &e))? {
        let line = record.position().map_or(0, csv::Position::line);
        let cell =
            |&(column, place): &(_, usize)| (column, Cell::text(record.get(place).unwrap_or_default()));
        let cells = places.iter().map(cell).collect();
        each(Row { place: format!("line {line}"), columns: &columns, cells })?;
    }
    Ok(())
}

/// Why the table cannot be read, and where.
fn broken(path: &Path, error: &csv::Error) -> Error {
    let line = error.position().map_or(String::new(), |position| format!("line {}: ", position.line()));
    match error.kind() {
        ErrorKind::Io(e) => Error::io(path, e),
        ErrorKind::Utf8 { .. } => {
            Error::dataset(path, format!("{line}is not UTF-8 text")).hint("save the table as UTF-8")
        }
        ErrorKind::UnequalLengths { expected_len, len, .. } => {
            Error::dataset(path, format!("{line}has {len} cells instead of {expected_len}"))
                .hint("put captions with commas between double quotes")
        }
        _ => Error::dataset(path, format!("{line}cannot be read ({error})")),
    }
}
