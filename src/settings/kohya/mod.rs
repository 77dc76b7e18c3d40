//! Training configs of kohya's sd-scripts (`sd3_train_network.py --config_file`), read where keys correspond.
//!
//! Names and defaults are those of `library/train_util.py`, `library/sd3_train_utils.py` and
//! `networks/lora_sd3.py` there.

mod data_sets;
mod keys;
mod lycoris;

#[cfg(test)]
mod tests;

pub use data_sets::data_sets;

use super::foreign;
use super::keys::{RUN, Section};
use super::kind::shown;
use super::nearest::nearest;
use super::source::{Source, Translated};
use crate::error::{Error, ErrorKind, Result};
use serde_json::{Map, Value, json};

/// What kohya takes where nothing is given, and something else is the default here.
const DEFAULTS: &[(&str, &str)] = &[
    ("lora_rank", "4"),
    ("lora_alpha", "1"),
    ("lora_targets", "all-linear"),
    ("max_train_steps", "1600"),
    ("train_batch_size", "1"),
    ("learning_rate", "2e-6"),
    ("lr_scheduler", "constant"),
    ("flow_schedule_shift", "1"),
    ("sigma_density", "uniform"),
];

/// Fills in kohya's defaults where nothing was given.
pub fn fill_defaults(given: &mut Map<String, Value>) {
    for (name, text) in DEFAULTS {
        let decided = match *name {
            "max_train_steps" => given.contains_key("num_train_epochs"),
            "sigma_density" => {
                ["weighting_scheme", "flow_use_uniform_schedule"].iter().any(|key| given.contains_key(*key))
            }
            "flow_schedule_shift" => given.contains_key("flow_schedule_auto_shift"),
            _ => false,
        };
        let value = Section::find(RUN, name).and_then(|key| key.kind.read(&json!(text)).ok());
        if let (false, false, Some(value)) = (decided, given.contains_key(*name), value) {
            given.insert((*name).to_owned(), value);
        }
    }
}

/// Translates a training config.
///
/// # Errors
/// A key that kohya does not know, one that cannot be honoured, a value that it cannot have.
pub fn training(source: &Source) -> Result<Translated> {
    let mut training = Translated::default();
    let is_lycoris = lycoris::is_asked_for(source);
    if is_lycoris {
        lycoris::describe(source, &mut training)?;
    }
    for (name, value) in &source.entries {
        let name = name.trim().trim_start_matches('-');
        match name {
            _ if is_unset(value) => {}
            "train_data_dir" | "dataset_config" | "in_json" => {}
            "network_args" if is_lycoris => {}
            "network_args" => arguments(name, value, &mut training, network_argument)?,
            "optimizer_args" => arguments(name, value, &mut training, optimizer_argument)?,
            _ => entry(name, value, &mut training)?,
        }
    }
    longest_wins(&mut training.entries);
    warmup_share(&mut training.entries);
    data_config(source, &mut training)?;
    Ok(training)
}

/// Where the data sets are described: in a file of their own, else in this one.
fn data_config(source: &Source, training: &mut Translated) -> Result<()> {
    let text = |name: &str| source.entries.get(name).filter(|value| !is_unset(value));
    let here = || source.path.to_str().map(Value::from);
    let config = text("dataset_config").cloned().or_else(|| text("train_data_dir").and_then(|_| here()));
    if let Some(path) = text("dataset_config").and_then(Value::as_str) {
        let size = data_sets::batch_size(&data_sets::place(path, &source.path))?;
        size.into_iter().for_each(|size| drop(training.entries.insert("train_batch_size".to_owned(), size)));
    }
    if let Some(path) = config {
        training.entries.insert("data_backend_config".to_owned(), path);
    }
    Ok(())
}

/// Steps and epochs may both be given; epochs win, as there.
fn longest_wins(entries: &mut Map<String, Value>) {
    if entries.contains_key("max_train_epochs") {
        entries.remove("max_train_steps");
    }
}

/// A warm-up below one is a share of the steps.
fn warmup_share(entries: &mut Map<String, Value>) {
    let number = |name: &str| {
        entries.get(name).and_then(|value| match value {
            Value::String(text) => text.parse::<f64>().ok(),
            value => value.as_f64(),
        })
    };
    let share = number("lr_warmup_steps").filter(|share| (0.0..1.0).contains(share));
    let steps = number("max_train_steps").or((!entries.contains_key("max_train_epochs")).then_some(1600.0));
    if let (Some(share), Some(steps)) = (share, steps) {
        entries.insert("lr_warmup_steps".to_owned(), json!((share * steps) as u64));
    }
}

fn entry(name: &str, value: &Value, training: &mut Translated) -> Result<()> {
    if let Some(renamed) = keys::RENAMED.iter().find(|(theirs, _)| *theirs == name).map(|(_, ours)| *ours) {
        // A more particular key wins over the one that it refines, whichever comes first.
        training.entries.insert(renamed.to_owned(), value.clone());
        return Ok(());
    }
    if keys::OF_DATA_SETS.contains(&name) && Section::find(RUN, name).is_none() {
        training.of_data_sets.insert(name.to_owned(), value.clone());
        return Ok(());
    }
    if name == "resolution" {
        let edge = data_sets::edge(value).map_err(|cause| Error::setting(name, cause))?;
        training.entries.insert(name.to_owned(), edge);
        return Ok(());
    }
    if Section::find(RUN, name).is_some() {
        training.entries.entry(name.to_owned()).or_insert_with(|| value.clone());
        return Ok(());
    }
    foreign_key(name, value, &mut training.ignored)
}

/// A key that is no setting here: ignored, refused, or unknown.
fn foreign_key(name: &str, value: &Value, ignored: &mut Vec<(String, String)>) -> Result<()> {
    if let Some(keys) = keys::IGNORED.iter().find(|keys| keys.names.contains(&name)) {
        ignored.push((name.to_owned(), keys.why.to_owned()));
        return Ok(());
    }
    if let Some(keys) = keys::RESTRICTED.iter().find(|keys| keys.names.contains(&name)) {
        return foreign::hold_to(keys, name, value);
    }
    match foreign::accept(name, value)? {
        foreign::Foreign::Holds => Ok(()),
        foreign::Foreign::Ignored(why) => {
            ignored.push((name.to_owned(), why.to_owned()));
            Ok(())
        }
        foreign::Foreign::Unknown => {
            let near = nearest(name, keys::names()).unwrap_or_default();
            let place = format!("setting {}", shown(&name.into()));
            Err(Error::new(ErrorKind::Settings, place, "kohya's scripts have no such setting")
                .hint(format!("the nearest known one is `{near}`")))
        }
    }
}

/// `name=value` texts, a list of them or several in one text.
fn arguments(
    key: &str,
    value: &Value,
    training: &mut Translated,
    take: fn(&str, &str, &mut Translated) -> Result<()>,
) -> Result<()> {
    let texts: Vec<&str> = match value {
        Value::Array(items) => items.iter().filter_map(Value::as_str).collect(),
        Value::String(text) => text.split_whitespace().collect(),
        other => {
            let cause = format!("expected a list of name=value, found {}", shown(other));
            return Err(Error::setting(key, cause).hint("write it as [\"name=value\"]"));
        }
    };
    for text in texts {
        let (name, value) = text
            .split_once('=')
            .ok_or_else(|| {
                Error::setting(key, format!("{} is not of the form name=value", shown(&text.into())))
            })
            .map_err(|error| error.hint("write it as [\"name=value\"]"))?;
        take(name.trim(), value.trim().trim_matches(['"', '\'']), training)?;
    }
    Ok(())
}

/// One of `network_args`: a setting of the same name, or one of [`keys::NETWORK`].
fn network_argument(name: &str, value: &str, training: &mut Translated) -> Result<()> {
    if Section::find(RUN, name).is_some() {
        training.entries.insert(name.to_owned(), value.into());
        return Ok(());
    }
    if keys::NETWORK_IGNORED.contains(&name) {
        training.ignored.push((name.to_owned(), "it only says more while training".to_owned()));
        return Ok(());
    }
    if let Some(restricted) = keys::NETWORK.iter().find(|keys| keys.names.contains(&name)) {
        return foreign::hold_to(restricted, name, &value.into());
    }
    let known = keys::NETWORK.iter().flat_map(|keys| keys.names.iter().copied());
    let near = nearest(name, known).unwrap_or_default();
    Err(Error::setting("network_args", format!("{} is unknown", shown(&name.into())))
        .hint(format!("the nearest known one is `{near}`")))
}

/// One of `optimizer_args`: they are the pairs of `optimizer_config`, and `betas` is two of them.
fn optimizer_argument(name: &str, value: &str, training: &mut Translated) -> Result<()> {
    let pairs = training.entries.entry("optimizer_config").or_insert_with(|| json!({}));
    let Value::Object(pairs) = pairs else { return Ok(()) };
    if name == "betas" {
        let betas: Vec<&str> = value.trim_matches(['(', ')', '[', ']']).split(',').map(str::trim).collect();
        let [first, second] = betas.as_slice() else {
            return Err(Error::setting("optimizer_args", format!("betas are two numbers, found {value}"))
                .hint("write it as betas=0.9,0.999"));
        };
        pairs.insert("beta1".to_owned(), (*first).into());
        pairs.insert("beta2".to_owned(), (*second).into());
    } else {
        pairs.insert(name.to_owned(), value.into());
    }
    Ok(())
}

fn is_unset(value: &Value) -> bool {
    value.is_null() || value.as_str().is_some_and(|text| text.trim().is_empty())
}
