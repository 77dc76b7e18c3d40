//! What stands in SimpleTuner's files without being wrong there: keys of data sets for all of them, contradictions
//! that it resolves by itself, and placeholders.

use super::backends::BACKEND;
use super::keys::{RUN, Section};
use super::read::Given;
use serde_json::{Map, Value};

/// Keys of one data set that can hold for no other.
const OF_ONE: &[&str] =
    &["id", "type", "dataset_type", "disabled", "default", "instance_data_dir", "cache_dir_vae", "cache_dir"];

/// Takes those entries away that are keys of data sets: they hold for all sets that do not say them.
pub fn of_data_sets(entries: &mut Map<String, Value>) -> Map<String, Value> {
    let is_of_sets = |name: &str| {
        let name = name.trim().trim_start_matches('-');
        let key = Section::find(BACKEND, name).filter(|key| !OF_ONE.contains(&key.name));
        Section::find(RUN, name).is_none() && key.is_some()
    };
    let names: Vec<String> = entries.keys().filter(|name| is_of_sets(name)).cloned().collect();
    let bare = |name: &str| name.trim().trim_start_matches('-').to_owned();
    names.iter().filter_map(|name| Some((bare(name), entries.shift_remove(name)?))).collect()
}

/// Takes random seeds away (-1, and 0 as `seed`, which is the time): the default is a seed as good, and repeats.
pub fn without_random_seeds(entries: &mut Map<String, Value>) -> Vec<(String, String)> {
    let is_random = |name: &str, value: &Value| {
        let number = value.as_i64().or_else(|| value.as_str()?.trim().parse().ok());
        let name = name.trim().trim_start_matches('-');
        match name {
            "seed" => number.is_some_and(|seed| seed <= 0),
            "validation_seed" => number.is_some_and(|seed| seed < 0),
            _ => false,
        }
    };
    let random = entries.iter().filter(|(name, value)| is_random(name, value));
    let names: Vec<String> = random.map(|(name, _)| name.clone()).collect();
    let why = |name: String| {
        entries.shift_remove(&name);
        (name, "a random seed cannot be repeated; the default one is taken".to_owned())
    };
    names.into_iter().map(why).collect()
}

/// Resolves contradictions as SimpleTuner does in every version.
pub fn resolve(given: &mut Given) {
    let number = |given: &Given, name: &str| given.values.get(name).and_then(Value::as_f64);
    let drop = |given: &mut Given, name: &str, why: &str| {
        if given.values.remove(name).is_some() {
            given.ignored.push((name.to_owned(), why.to_owned()));
        }
    };
    if number(given, "flow_schedule_shift") > Some(0.0)
        && given.values.get("flow_schedule_auto_shift") == Some(&true.into())
    {
        drop(given, "flow_schedule_auto_shift", "a fixed flow_schedule_shift wins over it");
    }
    if number(given, "validation_guidance").is_some_and(|guidance| guidance <= 1.0) {
        drop(given, "validation_guidance_skip_layers", "without guidance there is none of layers either");
    }
}

/// The text of a data set's value with its placeholders filled in.
pub fn filled(value: &Value, id: &str) -> Value {
    match value {
        Value::String(text) => text.replace("{model_family}", "sd3").replace("{id}", id).into(),
        other => other.clone(),
    }
}
