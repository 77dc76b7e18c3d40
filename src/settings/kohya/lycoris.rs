//! `network_module = "lycoris.kohya"`: its `network_args` are the options of a `lycoris_config`.

use super::is_unset;
use crate::error::{Error, Result};
use crate::settings::keys::{RUN, Section};
use crate::settings::kind::shown;
use crate::settings::source::{Source, Translated};
use serde_json::{Map, Value, json};

/// The module's name.
const MODULE: &str = "lycoris.kohya";
/// The setting that describes such adapters.
const CONFIG: &str = "lycoris_config";

/// Whether the config asks for an adapter of LyCORIS that can be described here.
pub fn is_asked_for(source: &Source) -> bool {
    source.entries.get("network_module") == Some(&MODULE.into()) && Section::find(RUN, CONFIG).is_some()
}

/// Describes the adapter; where nothing is given, what LyCORIS' own front end takes holds.
pub fn describe(source: &Source, training: &mut Translated) -> Result<()> {
    let mut options =
        Map::from_iter([("algo".to_owned(), json!("lora")), ("preset".to_owned(), json!("full"))]);
    for (theirs, ours, default) in [("network_dim", "linear_dim", 4), ("network_alpha", "linear_alpha", 1)] {
        let given = source.entries.get(theirs).filter(|value| !is_unset(value));
        options.insert(ours.to_owned(), given.cloned().unwrap_or_else(|| json!(default)));
    }
    for text in source.entries.get("network_args").and_then(Value::as_array).into_iter().flatten() {
        let pair = text.as_str().and_then(|text| text.split_once('='));
        let (name, value) = pair.ok_or_else(|| {
            Error::setting("network_args", format!("{} is not of the form name=value", shown(text)))
                .hint("write it as [\"name=value\"]")
        })?;
        options.insert(name.trim().to_owned(), value.trim().into());
    }
    training.entries.insert("lora_type".to_owned(), "lycoris".into());
    training.entries.insert(CONFIG.to_owned(), options.into());
    Ok(())
}
