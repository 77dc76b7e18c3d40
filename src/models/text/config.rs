//! What a text encoder's `config.json` says beyond the shapes of its weights; a model without one has the usual
//! values.

use crate::error::{Error, Result};
use crate::weights::WeightMap;
use serde_json::Value;
use std::path::Path;

/// A `config.json`, or none.
#[derive(Debug, Clone, Copy)]
pub(super) struct Config<'a> {
    json: Option<&'a Value>,
    path: &'a Path,
}

impl<'a> Config<'a> {
    /// The config that belongs to `weights`.
    pub fn new(json: Option<&'a Value>, weights: &'a WeightMap) -> Self {
        Self { json, path: weights.path() }
    }

    /// The object under `key`, where a config describes several models; this config itself where it does not.
    pub fn section(self, key: &str) -> Self {
        let section = self.json.and_then(|json| json.get(key)).filter(|value| value.is_object());
        Self { json: section.or(self.json), ..self }
    }

    /// Whether there is a config at all.
    pub fn exists(&self) -> bool {
        self.json.is_some()
    }

    fn get<T>(&self, key: &str, kind: &str, read: impl Fn(&'a Value) -> Option<T>) -> Result<Option<T>> {
        match self.json.and_then(|json| json.get(key)) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => match read(value) {
                Some(value) => Ok(Some(value)),
                None => Err(self.wrong(format!("`{key}` is {value}, {kind} is needed"))),
            },
        }
    }

    /// A whole number of at least 0.
    pub fn whole(&self, key: &str) -> Result<Option<usize>> {
        self.get(key, "a whole number", |value| value.as_u64()?.try_into().ok())
    }

    /// A positive number.
    pub fn positive(&self, key: &str) -> Result<Option<f32>> {
        let read = |value: &Value| value.as_f64().filter(|v| *v > 0.0 && v.is_finite()).map(|v| v as f32);
        self.get(key, "a positive number", read)
    }

    /// A text.
    pub fn text(&self, key: &str) -> Result<Option<&'a str>> {
        self.get(key, "a text", Value::as_str)
    }

    /// The names of the classes that the model was saved from.
    pub fn architectures(&self) -> Option<Vec<&'a str>> {
        let names = self.json?.get("architectures")?.as_array()?;
        Some(names.iter().filter_map(Value::as_str).collect())
    }

    /// Fails unless the number under `key`, where there is one, is `known`.
    pub fn expect_value(&self, key: &str, known: usize) -> Result<()> {
        match self.whole(key)? {
            Some(stated) if stated != known => {
                Err(self.wrong(format!("`{key}` is {stated}, {known} was expected")))
            }
            _ => Ok(()),
        }
    }

    /// An error about this config.
    pub fn wrong(&self, cause: impl std::fmt::Display) -> Error {
        Error::weights(self.path, format!("config.json: {cause}"))
            .hint("config.json and weights must belong to the same text encoder")
    }
}

/// One more than the largest number that follows `prefix` in the weights' names: the number of layers.
pub(super) fn layer_count(weights: &WeightMap, prefix: &str) -> usize {
    let number = |name: &str| name.strip_prefix(prefix)?.split('.').next()?.parse::<usize>().ok();
    weights.names().filter_map(number).max().map_or(0, |last| last + 1)
}
