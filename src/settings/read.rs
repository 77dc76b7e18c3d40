//! From the keys and values that a user wrote to canonical values under canonical names.

use super::foreign::{self, Foreign};
use super::keys::{Effect, Key, Section};
use super::kind::shown;
use super::nearest::nearest;
use super::places::{self, Missing};
use crate::error::{Error, ErrorKind, Result};
use serde_json::{Map, Value};
use std::io::Read;
use std::path::Path;

/// The values that were given, by canonical name, and the keys that have no effect, each with the reason.
#[derive(Debug, Default)]
pub struct Given {
    /// Canonical values; a key that was not set is absent.
    pub values: Map<String, Value>,
    /// Keys without effect.
    pub ignored: Vec<(String, String)>,
    /// What is to be read and is not there.
    pub missing: Vec<Missing>,
}

/// Reads `object` by `table`. `folder` is where the file lies that it comes from, if it is in a file.
///
/// # Errors
/// An unknown key, a key given twice, a value that its key cannot have.
pub fn object(
    object: &Map<String, Value>,
    table: &'static [Section],
    folder: Option<&Path>,
) -> Result<Given> {
    let mut given = Given::default();
    let mut written: Map<String, Value> = Map::new();
    for (name, value) in object {
        let Some((key, value)) = entry(name, value, table, folder, &mut given)? else { continue };
        if value.is_null() {
            continue;
        }
        if let Some(earlier) = written.insert(key.name.to_owned(), name.as_str().into()) {
            let cause =
                format!("given twice, as {} and as {}", shown(&earlier), shown(&name.as_str().into()));
            return Err(Error::setting(key.name, cause).hint("keep one of the two"));
        }
        given.values.insert(key.name.to_owned(), value);
    }
    Ok(given)
}

/// Lets `overrides` win over what was given; an empty value takes a setting back to its default.
pub fn overrides(given: &mut Given, overrides: &[(String, String)], table: &'static [Section]) -> Result<()> {
    for (name, text) in overrides {
        let Some(key) = overridden(name, table) else {
            entry(name, &text.as_str().into(), table, None, given)?;
            continue;
        };
        given.missing.retain(|missing| missing.key != key.name);
        let Some((_, value)) = entry(name, &text.as_str().into(), table, None, given)? else { continue };
        if value.is_null() {
            given.values.remove(key.name);
        } else {
            given.values.insert(key.name.to_owned(), value);
        }
    }
    Ok(())
}

/// Every value of `table`: what was given, else the default. Keys that are not set have none.
pub fn with_defaults(given: &Map<String, Value>, table: &'static [Section]) -> Result<Map<String, Value>> {
    let mut all = Map::new();
    for key in Section::all(table).filter(|key| key.effect != Effect::Reading) {
        let value = match given.get(key.name) {
            Some(value) => value.clone(),
            None => default(key, &all)?,
        };
        if !value.is_null() {
            all.insert(key.name.to_owned(), value);
        }
    }
    Ok(all)
}

/// One row's canonical value, as an error that names the row when it has none.
pub fn value(key: &Key, value: &Value) -> Result<Value> {
    key.kind.read(value).map_err(|cause| Error::setting(key.name, cause).hint(key.doc))
}

/// The text of a JSON file, as JSON.
///
/// # Errors
/// A file that is missing, too large to be meant, or not JSON (with the line).
pub fn json_file(path: &Path) -> Result<Value> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(LARGEST_FILE + 1).read_to_end(&mut bytes))
        .map_err(|e| Error::io(path, &e))?;
    json_bytes(&bytes).map_err(|cause| Error::new(ErrorKind::Settings, path.display().to_string(), cause))
}

/// JSON from bytes, or why it is none.
pub fn json_bytes(bytes: &[u8]) -> std::result::Result<Value, String> {
    const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
    if bytes.len() as u64 > LARGEST_FILE {
        return Err(format!("larger than {} MiB, so hardly a settings file", LARGEST_FILE >> 20));
    }
    let bytes = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes);
    serde_json::from_slice(bytes).map_err(|e| format!("not valid JSON: {e}"))
}

/// Bytes of the largest file that may be one of settings.
pub const LARGEST_FILE: u64 = 16 << 20;

/// The row and the canonical value of one entry; `None` for a foreign key, noted in `ignored` if it has no effect.
fn entry(
    name: &str,
    written: &Value,
    table: &'static [Section],
    folder: Option<&Path>,
    given: &mut Given,
) -> Result<Option<(&'static Key, Value)>> {
    let name = name.trim().trim_start_matches('-');
    let written = with_environment(name, written)?;
    let Some(key) = Section::find(table, name) else {
        match foreign::accept(name, &written)? {
            Foreign::Unknown => return Err(unknown(name, table)),
            Foreign::Holds => {}
            Foreign::Ignored(why) => given.ignored.push((name.to_owned(), why.to_owned())),
        }
        return Ok(None);
    };
    let value = value(key, &written)?;
    Ok(Some((key, places::placed(key, value, folder, &mut given.missing)?)))
}

fn overridden(name: &str, table: &'static [Section]) -> Option<&'static Key> {
    Section::find(table, name.trim().trim_start_matches('-'))
}

fn unknown(name: &str, table: &'static [Section]) -> Error {
    let known =
        Section::all(table).flat_map(|key| std::iter::once(key.name).chain(key.synonyms.iter().copied()));
    let near = nearest(name, known.chain(foreign::names())).unwrap_or_default();
    let shown = shown(&name.into());
    Error::new(ErrorKind::Settings, format!("setting {shown}"), "there is no such setting")
        .hint(format!("the nearest known one is `{near}`"))
}

/// The same value with `{env:NAME}` in its texts replaced by that environment variable.
fn with_environment(key: &str, value: &Value) -> Result<Value> {
    Ok(match value {
        Value::String(text) => expanded(key, text)?.into(),
        Value::Array(items) => {
            items.iter().map(|item| with_environment(key, item)).collect::<Result<Vec<_>>>()?.into()
        }
        Value::Object(entries) => {
            let entry = |(name, value): (&String, &Value)| Ok((name.clone(), with_environment(key, value)?));
            entries.iter().map(entry).collect::<Result<Map<_, _>>>()?.into()
        }
        other => other.clone(),
    })
}

fn expanded(key: &str, text: &str) -> Result<String> {
    const OPEN: &str = "{env:";
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(OPEN) {
        let Some((name, after)) = after.split_once('}') else { break };
        // A name with `=` or NUL cannot exist, and some platforms panic when asked for one.
        let found = (!name.contains(['=', '\0'])).then(|| std::env::var(name).ok()).flatten();
        let variable = found.ok_or_else(|| {
            Error::setting(key, format!("the environment variable {} is not set", shown(&name.into())))
        })?;
        out.push_str(before);
        out.push_str(&variable);
        rest = after;
    }
    out.push_str(rest);
    Ok(out)
}

/// The default of `key`, given the rows above it.
fn default(key: &Key, above: &Map<String, Value>) -> Result<Value> {
    let Some(reference) = key.default.strip_prefix('=') else { return value(key, &key.default.into()) };
    let (other, below) = reference.split_once('/').unwrap_or((reference, ""));
    match above.get(other) {
        None => Ok(Value::Null),
        Some(Value::String(folder)) if !below.is_empty() => {
            places::path_value(key.name, Path::new(folder).join(below))
        }
        Some(other) => value(key, other),
    }
}
