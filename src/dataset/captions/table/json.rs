//! Tables in JSON: an object a line, a list of objects, or an object of objects under the pictures' names.

use super::cell::Cell;
use super::columns::Columns;
use super::row::Row;
use crate::error::{Error, Result};
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use std::fmt;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::result::Result as StdResult;

type Each<'a> = &'a mut dyn FnMut(Row) -> Result<()>;

/// Reads a table with a JSON object on every line that is not blank.
pub fn read_lines(path: &Path, columns: &Columns, each: Each) -> Result<()> {
    let mut objects = Objects::new(path, columns, each);
    let mut file = BufReader::new(std::fs::File::open(path).map_err(|e| Error::io(path, &e))?);
    let mut bytes = Vec::new();
    for line in 1.. {
        bytes.clear();
        if file.read_until(b'\n', &mut bytes).map_err(|e| Error::io(path, &e))? == 0 {
            break;
        }
        let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes);
        if text.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        let place = format!("line {line}");
        let value: Value = serde_json::from_slice(text).map_err(|e| {
            let what = without_line(&e);
            Error::dataset(path, format!("{place} is not valid JSON ({what})"))
                .hint("write one object on each line")
        })?;
        objects.take(place, value)?;
    }
    objects.finish()
}

/// Reads a table that is one JSON document, entry by entry.
pub fn read_document(path: &Path, columns: &Columns, each: Each) -> Result<()> {
    let file = std::fs::File::open(path).map_err(|e| Error::io(path, &e))?;
    let mut refusal = None;
    let objects = Objects::new(path, columns, each);
    let mut json = serde_json::Deserializer::from_reader(BufReader::new(file));
    let read = Document { objects, refusal: &mut refusal }.deserialize(&mut json).and_then(|()| json.end());
    match (refusal, read) {
        (Some(error), _) => Err(error),
        (None, Err(e)) if e.is_io() => Err(Error::io(path, &e.into())),
        (None, Err(e)) => Err(Error::dataset(path, format!("is not a table in JSON: {e}"))
            .hint("write {\"name of a picture\": {\"caption\": \"…\"}}; a table with an object a line is called .jsonl")),
        (None, Ok(())) => Ok(()),
    }
}

/// The objects of a table, each a row. They need not have the same keys.
struct Objects<'a> {
    path: &'a Path,
    wanted: &'a Columns,
    /// The columns, once the first object has said which one holds the names.
    columns: Option<Columns>,
    /// Every key so far.
    keys: BTreeSet<String>,
    each: Each<'a>,
}

impl<'a> Objects<'a> {
    fn new(path: &'a Path, wanted: &'a Columns, each: Each<'a>) -> Self {
        Self { path, wanted, columns: None, keys: BTreeSet::new(), each }
    }

    /// Refuses a table in which a column never came.
    fn finish(&self) -> Result<()> {
        let keys: Vec<&str> = self.keys.iter().map(String::as_str).filter(|key| *key != KEY).collect();
        let mut wanted = self.wanted.clone();
        match &self.columns {
            None => return Ok(()),
            Some(columns) if columns.names == [KEY] => {
                wanted.names = keys.iter().map(|key| (*key).to_owned()).collect()
            }
            Some(_) => {}
        }
        wanted.among(self.path, &keys).map(drop)
    }

    fn take(&mut self, place: String, value: Value) -> Result<()> {
        let Value::Object(mut object) = value else {
            return Err(Error::dataset(self.path, format!("{place} is not an object"))
                .hint("write { \"file_name\": \"a.png\", \"text\": \"a caption\" }"));
        };
        for key in object.keys().filter(|key| !self.keys.contains(*key)).cloned().collect::<Vec<_>>() {
            self.keys.insert(key);
        }
        let columns = match &self.columns {
            Some(columns) => columns,
            None => {
                let there: Vec<&str> = object.keys().map(String::as_str).collect();
                let names = vec![self.wanted.name_among(self.path, &there)?];
                self.columns.insert(Columns { names, ..self.wanted.clone() })
            }
        };
        let cells =
            columns.all().map(|column| (column, Cell::json(object.remove(column).unwrap_or_default())));
        let cells = cells.collect();
        (self.each)(Row { place, columns, cells })
    }
}

/// The column under which sd-scripts' keys are found.
const KEY: &str = "the key";

/// A whole document, which hands over its entries as it is read.
struct Document<'a> {
    objects: Objects<'a>,
    /// Why reading ended, if not by the JSON itself.
    refusal: &'a mut Option<Error>,
}

impl<'de> DeserializeSeed<'de> for Document<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> StdResult<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Document<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("an object or a list of objects")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut list: A) -> StdResult<(), A::Error> {
        let mut number = 0;
        while let Some(value) = list.next_element()? {
            number += 1;
            self.hand_over(format!("entry {number}"), value)?;
        }
        self.end()
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> StdResult<(), A::Error> {
        let wanted = Columns { names: vec![KEY.to_owned()], ..self.objects.wanted.clone() };
        self.objects.columns = Some(wanted);
        while let Some((key, value)) = map.next_entry::<String, Value>()? {
            let value = match value {
                Value::Object(mut object) => {
                    object.insert(KEY.to_owned(), key.as_str().into());
                    object
                }
                // A caption alone, as image-and-text files elsewhere have it.
                text @ (Value::String(_) | Value::Array(_)) => {
                    Map::from_iter([(KEY.to_owned(), key.as_str().into()), ("caption".to_owned(), text)])
                }
                _ => {
                    let cause = format!("`{key}` holds neither an object nor a caption");
                    return self.or_refusal(Err(Error::dataset(self.objects.path, cause)
                        .hint("write {\"name of a picture\": {\"caption\": \"…\"}}")));
                }
            };
            self.hand_over(format!("`{key}`"), value.into())?;
        }
        self.end()
    }
}

impl Document<'_> {
    fn hand_over<E: serde::de::Error>(&mut self, place: String, value: Value) -> StdResult<(), E> {
        let taken = self.objects.take(place, value);
        self.or_refusal(taken)
    }

    fn end<E: serde::de::Error>(&mut self) -> StdResult<(), E> {
        let finished = self.objects.finish();
        self.or_refusal(finished)
    }

    /// Ends reading with the error of a row, which serde's own error cannot carry.
    fn or_refusal<E: serde::de::Error>(&mut self, result: Result<()>) -> StdResult<(), E> {
        result.map_err(|error| {
            *self.refusal = Some(error);
            E::custom("refused")
        })
    }
}

/// What is wrong with a line that is a document of its own, so that its own line number says nothing.
fn without_line(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.split(" at line ").next().unwrap_or_default().to_owned()
}
