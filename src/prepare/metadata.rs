//! Files that hold the captions of many pictures: `metadata.jsonl`, `metadata.csv`, `metadata.json` and the like.
//! They are copied, and pictures that have another extension now are named anew.

use super::record::Written;
use super::sources::Source;
use super::target::Target;
use crate::dataset::{content_hash, scan};
use crate::error::{Error, ErrorKind, Result};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::path::Path;

/// The extensions of such files.
const EXTENSIONS: [&str; 4] = ["jsonl", "csv", "json", "parquet"];
/// What fields with the name of a picture are called: by Hugging Face's ImageFolder, kohya and SimpleTuner.
const NAME_FIELDS: [&str; 6] = ["file_name", "image_path", "filename", "file", "path", "image"];

/// The metadata files after copying.
pub(super) struct Copied {
    /// What stands in the target folder and is the program's.
    pub files: Vec<Written>,
    /// Remarks for the report.
    pub notes: Vec<String>,
}

/// Copies the metadata files in the folder `from`; `before` are those that earlier runs have written.
///
/// # Errors
/// A file that cannot be read or written.
pub(super) fn copy(from: &Path, target: &Target, pictures: &[Source], before: &[Written]) -> Result<Copied> {
    let renamed: BTreeMap<&str, &str> =
        pictures.iter().map(|source| (source.name.as_str(), source.file.as_str())).collect();
    let mut copied = Copied { files: Vec::new(), notes: Vec::new() };
    for path in scan::files(from)?.into_iter().filter(|path| is_metadata(path)) {
        let Some(name) = path.strip_prefix(from).ok().and_then(Path::to_str) else { continue };
        let bytes =
            std::fs::read(&path).map_err(|e| Error { kind: ErrorKind::Dataset, ..Error::io(&path, &e) })?;
        let folder = name.rsplit_once('/').map_or("", |(folder, _)| folder);
        let bytes = match adapted(&path, &bytes, &Names { renamed: &renamed, folder, from }) {
            Ok(bytes) => bytes,
            Err(note) => {
                copied.notes.push(format!("{}: {note}; it was copied as it is", path.display()));
                bytes
            }
        };
        let earlier = before.iter().find(|written| written.file == name);
        let now = Written {
            file: name.to_owned(),
            bytes: bytes.len() as u64,
            sha256: content_hash(&bytes),
            before: earlier.map(|written| written.sha256.clone()),
        };
        let now = earlier.filter(|earlier| earlier.sha256 == now.sha256).cloned().unwrap_or(now);
        match target.write(name, &bytes, |hash| earlier.is_some_and(|earlier| earlier.is(hash))) {
            Ok(_) => copied.files.push(now),
            Err(error) if error.kind == ErrorKind::Dataset => {
                copied.notes.push(format!("{} {}", error.place, error.cause));
                copied.files.extend(earlier.cloned());
            }
            Err(error) => return Err(error),
        }
    }
    Ok(copied)
}

/// Whether the name is one of those in use: metadata.*, and kohya's meta_cap.json and meta_lat.json.
fn is_metadata(path: &Path) -> bool {
    let stem = path.file_stem().map(|stem| stem.to_string_lossy().to_lowercase()).unwrap_or_default();
    let extension = path.extension().map(|e| e.to_string_lossy().to_lowercase()).unwrap_or_default();
    (stem == "metadata" || stem.starts_with("meta_")) && EXTENSIONS.contains(&extension.as_str())
}

/// How pictures are called now.
struct Names<'a> {
    /// New names by the old ones, from the source folder.
    renamed: &'a BTreeMap<&'a str, &'a str>,
    /// The folder of the metadata file, from the source folder.
    folder: &'a str,
    /// The source folder.
    from: &'a Path,
}

impl Names<'_> {
    /// The new form of a reference to a picture; none if it refers to no picture or stays as it is.
    fn new_name(&self, reference: &str) -> Option<String> {
        let beside = match self.folder {
            "" => reference.to_owned(),
            folder => format!("{folder}/{}", reference.trim_start_matches("./")),
        };
        let absolute = Path::new(reference).strip_prefix(self.from).ok().and_then(Path::to_str);
        let places = [Some(beside.as_str()), Some(reference.trim_start_matches("./")), absolute];
        let new = places.into_iter().flatten().find_map(|place| self.renamed.get(place))?;
        let extension = Path::new(new).extension()?.to_str()?;
        let named = Path::new(reference).with_extension(extension).display().to_string();
        (named != reference).then_some(named)
    }

    /// Renames in the fields of one picture.
    fn rename_fields(&self, fields: &mut Map<String, Value>) -> bool {
        let mut renamed = false;
        for name in NAME_FIELDS {
            if let Some(Value::String(reference)) = fields.get_mut(name)
                && let Some(new) = self.new_name(reference)
            {
                *reference = new;
                renamed = true;
            }
        }
        renamed
    }
}

/// The file's new content; the same bytes if no picture in it has another name.
fn adapted(path: &Path, bytes: &[u8], names: &Names<'_>) -> std::result::Result<Vec<u8>, String> {
    match path.extension().and_then(|e| e.to_str()).map(str::to_lowercase).as_deref() {
        Some("jsonl") => adapted_lines(bytes, names),
        Some("json") => adapted_json(bytes, names),
        Some("csv") => adapted_csv(bytes, names),
        _ if names.renamed.iter().all(|(old, new)| old == new) => Ok(bytes.to_vec()),
        _ => Err("pictures named in a parquet file are not renamed in it".to_owned()),
    }
}

fn adapted_lines(bytes: &[u8], names: &Names<'_>) -> std::result::Result<Vec<u8>, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "is not UTF-8 text")?;
    let mut out = String::with_capacity(text.len());
    for (number, line) in text.split_inclusive('\n').enumerate() {
        if line.trim().is_empty() {
            out.push_str(line);
            continue;
        }
        let line_of = |e: serde_json::Error| format!("line {} is not valid JSON: {e}", number + 1);
        let mut fields: Map<String, Value> =
            serde_json::from_str(line.trim_start_matches('\u{feff}')).map_err(line_of)?;
        if names.rename_fields(&mut fields) {
            out.push_str(&Value::from(fields).to_string());
            out.push('\n');
        } else {
            out.push_str(line);
        }
    }
    Ok(out.into_bytes())
}

/// kohya's form, an object by picture; or a list of objects.
fn adapted_json(bytes: &[u8], names: &Names<'_>) -> std::result::Result<Vec<u8>, String> {
    let json: Value = serde_json::from_slice(bytes).map_err(|e| format!("is not valid JSON: {e}"))?;
    let mut renamed = false;
    let json = match json {
        Value::Object(pictures) => {
            let rename = |(key, value): (String, Value)| {
                let new = names.new_name(&key);
                renamed |= new.is_some();
                (new.unwrap_or(key), value)
            };
            Value::Object(pictures.into_iter().map(rename).collect())
        }
        Value::Array(mut rows) => {
            for fields in rows.iter_mut().filter_map(Value::as_object_mut) {
                renamed |= names.rename_fields(fields);
            }
            Value::Array(rows)
        }
        other => other,
    };
    Ok(if renamed { format!("{json:#}\n").into_bytes() } else { bytes.to_vec() })
}

fn adapted_csv(bytes: &[u8], names: &Names<'_>) -> std::result::Result<Vec<u8>, String> {
    let wrong = |e: csv::Error| format!("is not valid CSV: {e}");
    let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(bytes);
    let header = reader.headers().map_err(wrong)?.clone();
    let mut writer = csv::WriterBuilder::new().flexible(true).from_writer(Vec::new());
    writer.write_record(&header).map_err(wrong)?;
    let mut renamed = false;
    for row in reader.records() {
        let row = row.map_err(wrong)?;
        let cells = row.iter().enumerate().map(|(column, cell)| {
            let is_name = header.get(column).is_some_and(|title| NAME_FIELDS.contains(&title.trim()));
            let new = if is_name { names.new_name(cell) } else { None };
            renamed |= new.is_some();
            new.unwrap_or_else(|| cell.to_owned())
        });
        writer.write_record(cells).map_err(wrong)?;
    }
    let out = writer.into_inner().map_err(|e| e.to_string())?;
    Ok(if renamed { out } else { bytes.to_vec() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn adapt(file: &str, folder: &str, text: &str) -> std::result::Result<String, String> {
        let renamed = BTreeMap::from([("a.jpg", "a.png"), ("sub/b.jpg", "sub/b.png"), ("c.png", "c.png")]);
        let names = Names { renamed: &renamed, folder, from: Path::new("/data") };
        adapted(Path::new(file), text.as_bytes(), &names).map(|bytes| String::from_utf8(bytes).unwrap())
    }

    #[test]
    fn lines_name_the_new_pictures_and_stay_otherwise() {
        let text = "{\"file_name\": \"a.jpg\", \"text\": \"a, b\"}\n{\"file_name\":  \"c.png\"}\n\n";
        let new = "{\"file_name\":\"a.png\",\"text\":\"a, b\"}\n{\"file_name\":  \"c.png\"}\n\n";
        assert_eq!(adapt("metadata.jsonl", "", text).unwrap(), new);
        let beside = adapt("metadata.jsonl", "sub", "{\"image_path\": \"b.jpg\"}").unwrap();
        assert_eq!(beside, "{\"image_path\":\"b.png\"}\n");
        assert!(adapt("metadata.jsonl", "", "{}\n{").unwrap_err().contains("line 2"));
    }

    #[test]
    fn kohyas_keys_are_renamed_whole_paths_too() {
        let text = r#"{"/data/sub/b.jpg": {"tags": "x"}, "a": {"tags": "y"}, "nowhere.jpg": {}}"#;
        let new: Value = serde_json::from_str(&adapt("meta_cap.json", "", text).unwrap()).unwrap();
        let keys: Vec<_> = new.as_object().unwrap().keys().collect();
        assert_eq!(keys, ["/data/sub/b.png", "a", "nowhere.jpg"]);
    }

    #[test]
    fn tables_keep_their_other_columns() {
        let text = "file_name,text\nsub/b.jpg,\"red, round\"\nc.png,x\n";
        assert_eq!(
            adapt("metadata.csv", "", text).unwrap(),
            "file_name,text\nsub/b.png,\"red, round\"\nc.png,x\n"
        );
        let untouched = "file_name;text\r\nc.png;x";
        assert_eq!(adapt("metadata.csv", "", untouched).unwrap(), untouched);
    }
}
