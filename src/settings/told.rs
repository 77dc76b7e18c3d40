//! The settings as used, row by row, for people.

use super::keys::{Effect, RUN, Section};
use super::read;
use super::run::RunSettings;
use crate::error::Result;
use serde_json::Value;

/// The settings of one subject.
#[derive(Debug, Clone, PartialEq)]
pub struct ToldSection {
    /// The subject.
    pub title: &'static str,
    /// Its rows.
    pub rows: Vec<ToldSetting>,
}

/// A setting as used.
#[derive(Debug, Clone, PartialEq)]
pub struct ToldSetting {
    /// Its name.
    pub key: &'static str,
    /// Its value, as a user would write it.
    pub value: String,
    /// What it means.
    pub doc: &'static str,
    /// Whether another value stands there than without it.
    pub changed: bool,
}

impl RunSettings {
    /// Every setting, in the order of the table.
    pub fn told(&self) -> Result<Vec<ToldSection>> {
        let used = self.as_used();
        let all = used.as_object().cloned().unwrap_or_default();
        let row = |key: &super::keys::Key| -> Result<ToldSetting> {
            let value = used.get(key.name).unwrap_or(&Value::Null);
            let mut others = all.clone();
            others.remove(key.name);
            others.retain(|_, value| !value.is_null());
            let default = read::with_defaults(&others, RUN)?;
            let default = default.get(key.name).unwrap_or(&Value::Null);
            Ok(ToldSetting {
                key: key.name,
                value: written(value),
                doc: key.doc,
                changed: !same(value, default),
            })
        };
        let section = |section: &Section| {
            let rows = section.keys.iter().filter(|key| key.effect != Effect::Reading).map(row);
            Ok(ToldSection { title: section.title, rows: rows.collect::<Result<_>>()? })
        };
        RUN.iter().map(section).collect()
    }
}

/// Nothing, an empty text and an empty list all mean not set.
fn same(a: &Value, b: &Value) -> bool {
    written(a) == written(b)
}

fn written(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(written).collect::<Vec<_>>().join(", "),
        Value::Number(number) => number.as_f64().filter(|x| x.fract() != 0.0).map_or_else(
            || number.as_f64().map_or_else(|| number.to_string(), |whole| format!("{whole}")),
            |x| if x.abs() < 1e-3 { format!("{x:e}") } else { x.to_string() },
        ),
        other => other.to_string(),
    }
}
