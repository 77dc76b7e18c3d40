//! Data sets as kohya describes them: a dataset config of `[general]`, `[[datasets]]` and `[[datasets.subsets]]`, or
//! a training config's `train_data_dir`, whose folders are called `REPEATS_class words`.

use super::is_unset;
use super::keys::OF_DATA_SETS;
use crate::error::{Error, ErrorKind, Result};
use crate::settings::backends::BACKEND;
use crate::settings::foreign::{Ignored, Restricted, hold_to};
use crate::settings::keys::Section;
use crate::settings::kind::shown;
use crate::settings::nearest::nearest;
use crate::settings::run::RunSettings;
use crate::settings::source::{flattened, structured};
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};

/// Keys of data sets without effect.
#[rustfmt::skip]
const IGNORED: &[Ignored] = &[
    Ignored { why: "every picture goes into the bucket nearest to its shape, and none is stretched", names: &[
        "enable_bucket", "bucket_no_upscale", "bucket_reso_steps", "min_bucket_reso", "max_bucket_reso",
        "resize_interpolation"] },
    Ignored { why: "pictures are read anew, which is fast", names: &["cache_info", "debug_dataset"] },
    Ignored { why: "regularisation pictures count as others do", names: &["prior_loss_weight"] },
    Ignored { why: "captions are whole from the first step on", names: &["token_warmup_min", "token_warmup_step"] },
    Ignored { why: "nothing reads it here", names: &["custom_attributes", "network_multiplier"] },
];

/// Keys of data sets that hold with certain values only, unless they are settings here.
#[rustfmt::skip]
const RESTRICTED: &[Restricted] = &[
    Restricted { names: &["color_aug", "random_crop", "alpha_mask", "flip_aug", "is_reg", "shuffle_caption",
                          "enable_wildcard"], accepted: &["false"],
        why: "it is not supported yet" },
    Restricted { names: &["face_crop_aug_range", "conditioning_data_dir", "secondary_separator",
                          "keep_tokens_separator", "caption_suffix", "caption_prefix"], accepted: &["false"],
        why: "it is not supported yet" },
    Restricted { names: &["keep_tokens", "caption_dropout_every_n_epochs"], accepted: &["0"],
        why: "it is not supported yet" },
    Restricted { names: &["caption_tag_dropout_rate", "caption_dropout_rate", "validation_split",
                          "validation_seed"], accepted: &["0", "0.0"],
        why: "it is not supported for one data set" },
    Restricted { names: &["caption_separator"], accepted: &[","],
        why: "it is not supported yet" },
    Restricted { names: &["caption_extension", "caption_extention"], accepted: &[".txt", ".caption"],
        why: "captions lie in files that end so" },
];

/// The list of data sets that the content of a kohya config describes, as one of multidatabackend.json, and keys
/// without effect.
///
/// # Errors
/// A config without pictures, an unknown key, one that cannot be honoured.
pub fn data_sets(config: &Value, run: &RunSettings, path: &Path) -> Result<(Value, Vec<(String, String)>)> {
    let config = config.as_object().ok_or_else(|| refused("the dataset config is not a table"))?;
    let mut ignored = Vec::new();
    let subsets = match config.get("datasets") {
        Some(sets) => of_config(config, sets)?,
        None => of_folders(&flattened(config), path)?,
    };
    let mut entries = Vec::new();
    for (index, subset) in subsets.into_iter().enumerate() {
        let mut all = run.origin.of_data_sets.clone();
        all.extend(subset);
        let entry = entry(index, &all, path, &mut ignored).map_err(|error| at_subset(index, error))?;
        entries.push(Value::Object(entry));
    }
    ignored.sort();
    ignored.dedup();
    Ok((entries.into(), ignored))
}

/// The batch size that the dataset config at `path` gives, which wins over the training config's.
///
/// # Errors
/// Data sets of different batch sizes. What else is wrong with the config is found when it is read as a whole.
pub fn batch_size(path: &Path) -> Result<Option<Value>> {
    let Ok(Value::Object(config)) = structured(path) else { return Ok(None) };
    let of = |table: &Value| table.get("batch_size").cloned();
    let general = config.get("general").and_then(of);
    let sets = config.get("datasets").and_then(Value::as_array).into_iter().flatten();
    let mut sizes: Vec<Value> = sets.filter_map(|set| of(set).or_else(|| general.clone())).collect();
    sizes.dedup();
    if let [first, second, ..] = sizes.as_slice() {
        return Err(Error::setting("batch_size", format!("{first} in one data set, {second} in another"))
            .hint("batches have one size in all data sets"));
    }
    Ok(sizes.pop())
}

/// The subsets of a dataset config, each with what stands above it.
fn of_config(config: &Map<String, Value>, sets: &Value) -> Result<Vec<Map<String, Value>>> {
    if let Some(other) = config.keys().find(|key| !["general", "datasets"].contains(&key.as_str())) {
        return Err(refused(format!("the dataset config has `{other}` beside `general` and `datasets`")));
    }
    let table = |value: &Value, what: &str| {
        value.as_object().cloned().ok_or_else(|| refused(format!("{what} is not a table")))
    };
    let list = |value: &Value, what: &str| {
        value.as_array().cloned().ok_or_else(|| refused(format!("{what} is not a list of tables")))
    };
    let general = config.get("general").map_or(Ok(Map::new()), |general| table(general, "`general`"))?;
    let mut subsets = Vec::new();
    for set in list(sets, "`datasets`")? {
        let mut set = table(&set, "an entry of `datasets`")?;
        let own = set.remove("subsets").ok_or_else(|| refused("an entry of `datasets` has no `subsets`"))?;
        for subset in list(&own, "`subsets`")? {
            let mut all = general.clone();
            all.extend(set.clone());
            all.extend(table(&subset, "an entry of `subsets`")?);
            subsets.push(all);
        }
    }
    Ok(subsets)
}

/// The folders in `train_data_dir` that are called `REPEATS_class words`; others are passed over, as there.
fn of_folders(config: &Map<String, Value>, path: &Path) -> Result<Vec<Map<String, Value>>> {
    let written = config.get("train_data_dir").and_then(Value::as_str).ok_or_else(|| {
        refused("neither `datasets` nor `train_data_dir` says where pictures are")
            .hint("name a dataset_config, or a train_data_dir with folders like `5_red star`")
    })?;
    let folder = place(written, path);
    let names = std::fs::read_dir(&folder).map_err(|e| Error::io(&folder, &e))?;
    let mut names: Vec<String> =
        names.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
    names.sort();
    let mut subsets = Vec::new();
    for name in names.iter().filter(|name| folder.join(name).is_dir()) {
        let Some((repeats, class)) = name.split_once('_') else { continue };
        let Ok(repeats) = repeats.parse::<u32>() else { continue };
        let image_dir = folder.join(name);
        let subset = json!({"image_dir": image_dir, "num_repeats": repeats, "class_tokens": class});
        subsets.extend(subset.as_object().cloned());
    }
    if subsets.is_empty() {
        return Err(Error::setting(
            "train_data_dir",
            format!("{} has no folder like `5_red star`", folder.display()),
        )
        .hint("put the pictures into a folder called REPEATS_words, or write a dataset_config"));
    }
    Ok(subsets)
}

/// The file or folder that a config at `path` means: in the current directory, else beside the config.
pub fn place(written: &str, path: &Path) -> PathBuf {
    let beside = path.parent().map(|parent| parent.join(written)).filter(|place| place.exists());
    let here = PathBuf::from(written);
    if here.exists() { here } else { beside.unwrap_or(here) }
}

/// A subset as an entry of multidatabackend.json.
fn entry(
    index: usize,
    subset: &Map<String, Value>,
    path: &Path,
    ignored: &mut Vec<(String, String)>,
) -> Result<Map<String, Value>> {
    let mut entry = Map::new();
    let mut set = |name: &str, value: Value| drop(entry.insert(name.to_owned(), value));
    let mut class = None;
    let images = subset.get("image_dir").and_then(Value::as_str).unwrap_or_default();
    set("id", format!("{}-{}", index + 1, name_of(images)).into());
    for (name, value) in subset.iter().filter(|(_, value)| !is_unset(value)) {
        match name.as_str() {
            "image_dir" => set("instance_data_dir", value.clone()),
            "num_repeats" | "dataset_repeats" => set("repeats", extra_passes(name, value)?),
            "class_tokens" => class = value.as_str(),
            "resolution" => set("resolution", edge(value).map_err(|cause| Error::setting(name, cause))?),
            "metadata_file" => metadata(value, &mut set)?,
            // It is the run's: see `batch_size`.
            "batch_size" => {}
            "prior_loss_weight" if Section::find(BACKEND, "loss_weight").is_some() => {
                if subset.get("is_reg") == Some(&true.into()) {
                    set("loss_weight", value.clone());
                }
            }
            // A setting here under the same name.
            name if Section::find(BACKEND, name).is_some() => set(name, value.clone()),
            name => other(name, value, ignored)?,
        }
    }
    // Class words are the caption where there are no others.
    if let Some(class) = class.filter(|_| !has_captions(&place(images, path))) {
        entry.insert("caption_strategy".to_owned(), "instanceprompt".into());
        entry.insert("instance_prompt".to_owned(), class.into());
    }
    Ok(entry)
}

/// kohya counts passes, SimpleTuner those after the first.
fn extra_passes(name: &str, value: &Value) -> Result<Value> {
    match value.as_u64() {
        Some(0) => Err(Error::setting(name, "0 passes over the pictures").hint("remove the subset")),
        Some(passes) => Ok((passes - 1).into()),
        None => Err(Error::setting(name, format!("expected a whole number from 1, found {}", shown(value)))),
    }
}

/// A table of captions is a caption strategy of its own.
fn metadata(value: &Value, set: &mut impl FnMut(&str, Value)) -> Result<()> {
    if Section::find(BACKEND, "metadata_file").is_some() {
        set("metadata_file", value.clone());
        return Ok(());
    }
    Err(Error::setting("metadata_file", "captions in a metadata file are not supported yet")
        .hint("write each caption into a .txt file beside its picture"))
}

/// Whether any text lies beside the pictures. A picture without one is then an error of its own.
fn has_captions(folder: &Path) -> bool {
    let is_caption =
        |path: &Path| path.extension().is_some_and(|ending| ending == "txt" || ending == "caption");
    std::fs::read_dir(folder).is_ok_and(|mut entries| entries.any(|e| e.is_ok_and(|e| is_caption(&e.path()))))
}

fn other(name: &str, value: &Value, ignored: &mut Vec<(String, String)>) -> Result<()> {
    if let Some(keys) = IGNORED.iter().find(|keys| keys.names.contains(&name)) {
        ignored.push((name.to_owned(), keys.why.to_owned()));
        return Ok(());
    }
    if let Some(keys) = RESTRICTED.iter().find(|keys| keys.names.contains(&name)) {
        return hold_to(keys, name, value);
    }
    let own = ["image_dir", "num_repeats", "class_tokens", "resolution", "metadata_file", "is_reg"];
    let near = nearest(name, own.into_iter().chain(OF_DATA_SETS.iter().copied())).unwrap_or_default();
    let place = format!("setting {}", shown(&name.into()));
    Err(Error::new(ErrorKind::Settings, place, "kohya's data sets have no such setting")
        .hint(format!("the nearest known one is `{near}`")))
}

/// The edge of the square bucket: a number, or a width and a height, of which the area counts.
pub fn edge(value: &Value) -> std::result::Result<Value, String> {
    let number = |value: &Value| match value {
        Value::String(text) => text.trim().parse::<f64>().ok(),
        other => other.as_f64(),
    };
    let sides: Vec<Option<f64>> = match value {
        Value::Array(sides) => sides.iter().map(number).collect(),
        Value::String(text) => text.split(',').map(|side| side.trim().parse().ok()).collect(),
        other => vec![number(other)],
    };
    let wrong = || format!("expected pixels, or a width and a height, found {}", shown(value));
    match sides.as_slice() {
        [Some(edge)] => Ok(json!(edge)),
        [Some(width), Some(height)] if width == height => Ok(json!(width)),
        [Some(width), Some(height)] => {
            const STEP: f64 = crate::settings::kind::EDGE_STEP as f64;
            Ok(json!(((width * height).sqrt() / STEP).round() * STEP))
        }
        _ => Err(wrong()),
    }
}

fn name_of(folder: &str) -> &str {
    folder.trim_end_matches(['/', '\\']).rsplit(['/', '\\']).next().unwrap_or_default()
}

fn refused(cause: impl Into<String>) -> Error {
    Error::new(ErrorKind::Settings, "the dataset config", cause)
}

fn at_subset(index: usize, error: Error) -> Error {
    Error { place: format!("subset number {}, {}", index + 1, error.place), ..error }
}
