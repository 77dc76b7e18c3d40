//! SimpleTuner's block `caption_shuffle`, in the settings for which it stands here.

use super::keys::{RUN, Section};
use super::kind::shown;
use super::nearest::nearest;
use super::read::{self, Given};
use super::settle::stand_for;
use crate::error::{Error, Result};
use serde_json::{Map, Value};

const BLOCK: &str = "caption_shuffle";

/// The names in the block that are settings, and those settings.
const SETTINGS: &[(&str, &str)] =
    &[("enable", "shuffle_caption"), ("split_on", "caption_separator"), ("position_start", "keep_tokens")];

/// The names in the block without effect, and why.
const WITHOUT_EFFECT: &[(&str, &str)] = &[
    ("count", "captions are shuffled anew each time, not in so many variants"),
    ("seed", "the shuffle follows from the run's seed"),
    ("include_original", "captions are shuffled anew each time, the original order among them"),
];

/// Replaces the block in what was given by the settings for which it stands.
///
/// # Errors
/// An unknown name in the block, a value that its setting cannot have, a block that contradicts such a setting.
pub fn settle(given: &mut Given) -> Result<()> {
    let Some(Value::Object(block)) = given.values.remove(BLOCK) else { return Ok(()) };
    refuse_unknown(&block)?;
    let mut settings = Map::new();
    for (name, setting) in SETTINGS {
        let Some(written) = block.get(*name).filter(|value| !value.is_null()) else { continue };
        let Some(key) = Section::find(RUN, setting) else { continue };
        settings.insert(key.name.to_owned(), read::value(key, written).map_err(in_block)?);
    }
    if settings.get("shuffle_caption") != Some(&true.into()) {
        given.ignored.push((BLOCK.to_owned(), "`enable` in it is not true".to_owned()));
        return Ok(());
    }
    for (name, value) in settings {
        stand_for(&mut given.values, BLOCK, &name, value)?;
    }
    let ignored = WITHOUT_EFFECT.iter().filter(|(name, _)| block.contains_key(*name));
    given.ignored.extend(ignored.map(|(name, why)| (format!("{BLOCK}.{name}"), (*why).to_owned())));
    Ok(())
}

fn refuse_unknown(block: &Map<String, Value>) -> Result<()> {
    let known = || SETTINGS.iter().chain(WITHOUT_EFFECT).map(|(name, _)| *name);
    let Some(unknown) = block.keys().find(|name| !known().any(|known| known == name.as_str())) else {
        return Ok(());
    };
    let near = nearest(unknown, known()).unwrap_or_default();
    Err(Error::setting(BLOCK, format!("{} in it is unknown", shown(&unknown.as_str().into())))
        .hint(format!("the nearest known one is `{near}`")))
}

fn in_block(error: Error) -> Error {
    Error { place: format!("setting `{BLOCK}`, {}", error.place), ..error }
}
