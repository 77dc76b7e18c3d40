//! Tables in Apache Parquet. Only the columns that matter are read, whatever else (pictures, say) the file holds.

use super::cell::Cell;
use super::columns::Columns;
use super::row::Row;
use crate::error::{Error, Result};
use ::parquet::errors::ParquetError;
use ::parquet::file::metadata::ParquetMetaData;
use ::parquet::file::reader::{FileReader, SerializedFileReader};
use ::parquet::record::{Field, List};
use ::parquet::schema::types::Type;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

/// Reads the table row by row.
pub fn read(path: &Path, columns: &Columns, each: &mut dyn FnMut(Row) -> Result<()>) -> Result<()> {
    let file = std::fs::File::open(path).map_err(|e| Error::io(path, &e))?;
    let table = guarded(path, || SerializedFileReader::new(file))?;
    refuse_wrong_places(path, table.metadata())?;
    let schema = table.metadata().file_metadata().schema();
    let there: Vec<&str> = schema.get_fields().iter().map(|field| field.name()).collect();
    let columns = columns.among(path, &there)?;
    let is_wanted = |field: &&Arc<Type>| columns.all().any(|column| column == field.name());
    let wanted = schema.get_fields().iter().filter(is_wanted).cloned().collect();
    let projection = || Type::group_type_builder(schema.name()).with_fields(wanted).build();
    let mut rows = guarded(path, || table.get_row_iter(Some(projection()?)))?;
    for number in 1.. {
        let Some(row) = guarded(path, || rows.next().transpose())? else { break };
        let cells = row.get_column_iter().filter_map(|(name, field)| {
            columns.all().find(|column| column == name).map(|column| (column, cell(field)))
        });
        let cells = cells.collect();
        each(Row { place: format!("row {number}"), columns: &columns, cells })?;
    }
    Ok(())
}

/// Refuses columns that lie before the beginning of the file.
fn refuse_wrong_places(path: &Path, metadata: &ParquetMetaData) -> Result<()> {
    let columns = metadata.row_groups().iter().flat_map(|group| group.columns());
    let places = columns.flat_map(|column| {
        [column.data_page_offset(), column.dictionary_page_offset().unwrap_or(0), column.compressed_size()]
    });
    if places.into_iter().any(|place| place < 0) { Err(broken(path, "it is damaged")) } else { Ok(()) }
}

/// Runs a piece of the reader, which panics where a damaged file breaks what it takes for granted.
fn guarded<T>(path: &Path, work: impl FnOnce() -> std::result::Result<T, ParquetError>) -> Result<T> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(done) => done.map_err(|e| broken(path, &e.to_string())),
        Err(_) => Err(broken(path, "it is damaged")),
    }
}

/// The cell of a field.
fn cell(field: &Field) -> Cell {
    let number = |number: &dyn std::fmt::Display| Cell::Number(number.to_string());
    match field {
        Field::Null => Cell::Empty,
        Field::Str(text) => Cell::text(text.as_str()),
        Field::Bytes(bytes) => match std::str::from_utf8(bytes.data()) {
            Ok(text) => Cell::text(text),
            Err(_) => Cell::Other("bytes that are not UTF-8"),
        },
        Field::Byte(n) => number(n),
        Field::Short(n) => number(n),
        Field::Int(n) => number(n),
        Field::Long(n) => number(n),
        Field::UByte(n) => number(n),
        Field::UShort(n) => number(n),
        Field::UInt(n) => number(n),
        Field::ULong(n) => number(n),
        Field::Float(n) => Cell::float(f64::from(*n)),
        Field::Double(n) => Cell::float(*n),
        Field::ListInternal(list) => self::list(list),
        Field::Bool(_) => Cell::Other("true or false"),
        Field::Group(_) | Field::MapInternal(_) => Cell::Other("a structure"),
        _ => Cell::Other("a date or another kind of number"),
    }
}

fn list(list: &List) -> Cell {
    Cell::List(list.elements().iter().map(cell).collect())
}

fn broken(path: &Path, cause: &str) -> Error {
    let line = cause.lines().next().unwrap_or_default();
    Error::dataset(path, format!("cannot be read as Parquet: {line}"))
        .hint("write it again, compressed with snappy, zstd or gzip, or as .csv or .jsonl")
}
