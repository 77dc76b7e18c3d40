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
    refuse_separator(block.get("split_on"))?;
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

/// The block names separators; other words would be taken for characters.
fn refuse_separator(split_on: Option<&Value>) -> Result<()> {
    const KNOWN: [&str; 3] = ["comma", "space", "period"];
    let Some(written) = split_on.filter(|value| !value.is_null()) else { return Ok(()) };
    if written.as_str().is_some_and(|word| KNOWN.contains(&word.trim())) {
        return Ok(());
    }
    Err(Error::setting(
        BLOCK,
        format!("`split_on` in it is {}, not one of {}", shown(written), KNOWN.join(", ")),
    )
    .hint("caption_separator, outside the block, takes any characters"))
}

fn in_block(error: Error) -> Error {
    Error { place: format!("setting `{BLOCK}`, {}", error.place), ..error }
}

#[cfg(test)]
mod tests {
    use super::super::{DataBackends, parse_settings_bytes};
    use super::*;
    use serde_json::json;

    /// A data set with `more` in its entry, in a run with `run` in its settings.
    fn read(run: Value, more: Value) -> Result<DataBackends> {
        let mut settings = json!({"pretrained_model_name_or_path": "m", "data_backend_config": "d.json",
            "output_dir": "o", "max_train_steps": 1});
        let mut entry = json!({"id": "a", "instance_data_dir": "p"});
        let extend = |json: &mut Value, more: Value| {
            let (Value::Object(json), Value::Object(more)) = (json, more) else { panic!("objects") };
            json.extend(more);
        };
        extend(&mut settings, run);
        extend(&mut entry, more);
        let run = parse_settings_bytes(settings.to_string().as_bytes())?;
        DataBackends::from_json(&json!([entry]), &run, None)
    }

    #[test]
    fn the_block_of_simpletuner_is_read() {
        // The example of SimpleTuner's documentation.
        let block = json!({"caption_shuffle": {"enable": true, "count": 3, "seed": 42, "split_on": "comma",
            "position_start": 1, "include_original": true}});
        for backends in [read(json!({}), block.clone()).unwrap(), read(block, json!({})).unwrap()] {
            let set = &backends.images[0];
            assert!(set.shuffle_caption);
            assert_eq!((set.keep_tokens, set.caption_separator.as_str()), (1, ","));
        }
        let text = json!({"caption_shuffle": {"enable": "true", "position_start": "2", "count": 4}});
        let backends = read(json!({}), text).unwrap();
        assert_eq!(backends.images[0].keep_tokens, 2);
        assert_eq!(backends.ignored[0].0, "caption_shuffle.count");
    }

    #[test]
    fn a_block_that_is_off_changes_nothing() {
        for off in [json!({"enable": false, "position_start": 3}), json!({"split_on": "space"}), json!(false)]
        {
            let set = read(json!({}), json!({"caption_shuffle": off})).unwrap().images.remove(0);
            assert!(!set.shuffle_caption && set.keep_tokens == 0 && set.caption_separator == ",");
        }
    }

    #[test]
    fn mistakes_in_the_block_are_named() {
        let refusal = |more| read(json!({}), more).unwrap_err().to_string();
        let misspelt = refusal(json!({"caption_shuffle": {"enabled": true}}));
        assert!(misspelt.contains("enabled") && misspelt.contains("caption_shuffle"), "{misspelt}");
        let negative = refusal(json!({"caption_shuffle": {"enable": true, "position_start": -1}}));
        assert!(negative.contains("caption_shuffle") && negative.contains("-1"), "{negative}");
        let twice =
            refusal(json!({"caption_shuffle": {"enable": true, "position_start": 1}, "keep_tokens": 2}));
        assert!(twice.contains("keep_tokens"), "{twice}");
        let newline = refusal(json!({"caption_shuffle": {"enable": true, "split_on": "newline"}}));
        assert!(newline.contains("newline") && newline.contains("period"), "{newline}");
        assert!(refusal(json!({"caption_shuffle": 3})).contains("caption_shuffle"));
    }

    #[test]
    fn a_data_set_takes_from_the_run_what_it_does_not_say() {
        let run = json!({"shuffle_caption": true, "keep_tokens": 1, "keep_tokens_separator": "|||",
            "caption_tag_dropout_rate": 0.1, "caption_dropout_probability": 0.2});
        let own = json!({"keep_tokens": 0, "caption_tag_dropout_rate": 0.5, "caption_separator": ";",
            "enable_wildcard": "true", "secondary_separator": ";;;"});
        let set = read(run, own).unwrap().images.remove(0);
        assert!(set.shuffle_caption && set.enable_wildcard);
        assert_eq!((set.keep_tokens, set.keep_tokens_separator.as_deref()), (0, Some("|||")));
        assert_eq!((set.caption_tag_dropout_rate, set.caption_dropout_probability), (0.5, 0.2));
        assert_eq!((set.caption_separator.as_str(), set.secondary_separator.as_deref()), (";", Some(";;;")));
        assert!(read(json!({}), json!({"caption_tag_dropout_rate": 1.5})).is_err());
    }
}
