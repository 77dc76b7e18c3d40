//! Tables in Apache Parquet. Only the columns that matter are read, whatever else (pictures, say) the file holds.

use super::cell::Cell;
use super::columns::Columns;
use super::row::Row;
use crate::error::{Error, Result};
use ::parquet::errors::ParquetError;
use ::parquet::file::reader::{FileReader, SerializedFileReader};
use ::parquet::record::{Field, List};
use ::parquet::schema::types::Type;
use std::path::Path;

/// Reads the table row by row.
pub fn read(path: &Path, columns: &Columns, each: &mut dyn FnMut(Row) -> Result<()>) -> Result<()> {
    let broken = |e: ParquetError| broken(path, &e);
    let file = std::fs::File::open(path).map_err(|e| Error::io(path, &e))?;
    let table = SerializedFileReader::new(file).map_err(broken)?;
    let schema = table.metadata().file_metadata().schema();
    let there: Vec<&str> = schema.get_fields().iter().map(|field| field.name()).collect();
    let columns = columns.among(path, &there)?;
    let wanted =
        schema.get_fields().iter().filter(|field| columns.all().any(|column| column == field.name()));
    let projection = Type::group_type_builder(schema.name()).with_fields(wanted.cloned().collect()).build();
    let rows = table.get_row_iter(Some(projection.map_err(broken)?)).map_err(broken)?;
    for (index, row) in rows.enumerate() {
        let row = row.map_err(broken)?;
        let cells = row.get_column_iter();
        let cells = cells
            .filter_map(|(name, field)| Some((columns.all().find(|column| column == name)?, cell(field))));
        let cells = cells.collect();
        each(Row { place: format!("row {}", index + 1), columns: &columns, cells })?;
    }
    Ok(())
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

fn broken(path: &Path, error: &ParquetError) -> Error {
    let text = error.to_string();
    let line = text.lines().next().unwrap_or_default();
    Error::dataset(path, format!("cannot be read as Parquet: {line}"))
        .hint("write it again, compressed with snappy, zstd or gzip, or as .csv or .jsonl")
}
