//! TOML, as the JSON that says the same.

use crate::error::{Error, ErrorKind, Result};
use serde_json::{Map, Number, Value};
use std::path::Path;

/// The content of a TOML file.
///
/// # Errors
/// A file that cannot be read or is not TOML (with the line), a value that settings do not have.
pub fn read(path: &Path) -> Result<Value> {
    let text = super::text(path)?;
    let refused = |cause| Error::new(ErrorKind::Settings, path.display().to_string(), cause);
    parse(&text).map_err(|cause| refused(cause).hint("write key = value, texts in quotes"))
}

fn parse(text: &str) -> std::result::Result<Value, String> {
    let table: toml::Table = text.parse().map_err(|e: toml::de::Error| {
        let before = e.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        format!("not valid TOML: {} at line {line}", e.message().replace('\n', "; "))
    })?;
    object(table).map(Value::Object)
}

fn object(table: toml::Table) -> std::result::Result<Map<String, Value>, String> {
    let entry = |(name, value): (String, toml::Value)| {
        let value = json(value).map_err(|cause| format!("`{name}` {cause}"))?;
        Ok((name, value))
    };
    table.into_iter().map(entry).collect()
}

fn json(value: toml::Value) -> std::result::Result<Value, String> {
    Ok(match value {
        toml::Value::String(text) => text.into(),
        toml::Value::Integer(number) => number.into(),
        toml::Value::Float(number) => {
            Number::from_f64(number).map(Value::Number).ok_or("is not a finite number")?
        }
        toml::Value::Boolean(on) => on.into(),
        toml::Value::Array(items) => {
            items.into_iter().map(json).collect::<std::result::Result<Vec<_>, _>>()?.into()
        }
        toml::Value::Table(table) => object(table)?.into(),
        toml::Value::Datetime(_) => return Err("is a date, which no setting is".to_owned()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_keep_their_types_and_order() {
        let read = parse("b = 1e-4\na = 3\n[s]\nlist = ['x', true]\n").unwrap();
        assert_eq!(read, json!({"b": 1e-4, "a": 3, "s": {"list": ["x", true]}}));
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line_or_key() {
        assert!(parse("a = 1\nb = = 2\n").unwrap_err().contains("line 2"));
        assert!(parse("lr = nan").unwrap_err().contains("`lr`"));
        assert!(parse("day = 2024-10-22").unwrap_err().contains("date"));
        assert!(parse("a = 1\na = 2").unwrap_err().contains("TOML"));
    }
}
