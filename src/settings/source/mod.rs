//! What a user gives to `train`: a settings file in any of the known forms, or the folder that holds one.

mod env_file;
mod find;
mod flags;
mod toml_file;

#[cfg(test)]
mod tests;

use super::read;
use crate::error::{Error, ErrorKind, Result};
use serde_json::{Map, Value};
use std::io::Read;
use std::path::{Path, PathBuf};

/// Whose names and meanings a settings file follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Dialect {
    /// This program's own, which are SimpleTuner's names without its surprises.
    #[default]
    Sargent,
    /// A file that was written for SimpleTuner.
    SimpleTuner,
    /// A training config of kohya's sd-scripts.
    Kohya,
}

/// A settings file as written: keys and values, before anything is made of them.
#[derive(Debug, Clone)]
pub struct Source {
    /// The file.
    pub path: PathBuf,
    /// Keys, with or without leading dashes, and values, which may all be texts.
    pub entries: Map<String, Value>,
    /// Whose keys they are.
    pub dialect: Dialect,
    /// What is in the file without being a setting, each with the reason.
    pub ignored: Vec<(String, String)>,
}

/// What a settings file says, under this program's names.
#[derive(Debug, Default)]
pub struct Translated {
    /// The settings of the run.
    pub entries: Map<String, Value>,
    /// What holds for data sets that do not say it themselves.
    pub of_data_sets: Map<String, Value>,
    /// Keys without effect, each with the reason.
    pub ignored: Vec<(String, String)>,
}

/// The forms of a settings file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Json,
    Toml,
    Env,
}

impl Source {
    /// Reads the settings file at `path`, or the one in the folder there.
    ///
    /// # Errors
    /// A folder without settings, a file that cannot be read or is not of its form.
    pub fn open(path: &Path) -> Result<Self> {
        let path = find::settings_file(path)?;
        match form(&path) {
            Form::Json => Self::of_json(&path, &read::json_file(&path)?),
            Form::Toml => Self::of_json(&path, &toml_file::read(&path)?),
            Form::Env => {
                let (entries, ignored) = env_file::read(&path)?;
                Ok(Self { path, entries, dialect: Dialect::SimpleTuner, ignored })
            }
        }
    }

    /// The settings in `json`, which is the content of the file at `path`.
    pub fn of_json(path: &Path, json: &Value) -> Result<Self> {
        let refused = |cause: &str| Error::new(ErrorKind::Settings, path.display().to_string(), cause);
        let entries = match json {
            Value::Object(entries) => entries.clone(),
            Value::Array(_) => {
                return Err(refused("this is a list of data sets, not a JSON object of settings")
                    .hint("give the settings file that names it by data_backend_config"));
            }
            _ => return Err(refused("the settings are not a JSON object").hint("write { \"key\": value }")),
        };
        if entries.get("datasets").is_some_and(Value::is_array) {
            return Err(refused("this is a list of data sets, not a training config")
                .hint("give the training config that names it by dataset_config"));
        }
        let flat = flattened(&entries);
        let dialect = dialect(&flat);
        let entries = if dialect == Dialect::Kohya { flat } else { entries };
        Ok(Self { path: path.to_owned(), entries, dialect, ignored: Vec::new() })
    }
}

/// The text of a file.
///
/// # Errors
/// A file that is missing, too large to be meant, or not UTF-8.
pub fn text(path: &Path) -> Result<String> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(read::LARGEST_FILE + 1).read_to_end(&mut bytes))
        .map_err(|e| Error::io(path, &e))?;
    let refused = |cause: String| Error::new(ErrorKind::Settings, path.display().to_string(), cause);
    if bytes.len() as u64 > read::LARGEST_FILE {
        return Err(refused(format!(
            "larger than {} MiB, so hardly a settings file",
            read::LARGEST_FILE >> 20
        )));
    }
    let text = String::from_utf8(bytes).map_err(|_| refused("it is not UTF-8 text".to_owned()))?;
    Ok(text.trim_start_matches('\u{feff}').to_owned())
}

/// A JSON or TOML file, by its name.
pub fn structured(path: &Path) -> Result<Value> {
    if form(path) == Form::Toml { toml_file::read(path) } else { read::json_file(path) }
}

/// The form of a file, by its name; published examples add `.example` to it.
fn form(path: &Path) -> Form {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_ascii_lowercase();
    let name = name.trim_end_matches(".example");
    match name.rsplit_once('.') {
        Some((_, "toml")) => Form::Toml,
        Some((_, "env")) => Form::Env,
        _ => Form::Json,
    }
}

/// Keys of kohya's training configs that no other trainer knows.
const KOHYA_ONLY: &[&str] = &[
    "network_module",
    "network_args",
    "network_dim",
    "network_weights",
    "train_data_dir",
    "dataset_config",
    "optimizer_type",
    "optimizer_args",
    "output_name",
    "save_model_as",
    "save_every_n_epochs",
    "save_every_n_steps",
    "unet_lr",
    "clip_l",
    "clip_g",
    "t5xxl",
    "sample_prompts",
];

/// Keys that kohya's configs never have.
const NEVER_KOHYA: &[&str] =
    &["data_backend_config", "model_family", "model_type", "lora_type", "lora_rank", "compat"];

/// Keys of SimpleTuner's files that this program's own have no use for.
const SIMPLETUNER_ONLY: &[&str] = &["model_family", "model_type", "lora_type", "report_to", "push_to_hub"];

fn dialect(entries: &Map<String, Value>) -> Dialect {
    let bare = |name: &String| name.trim().trim_start_matches('-').to_owned();
    let names: Vec<String> = entries.keys().map(bare).collect();
    let has = |keys: &[&str]| names.iter().any(|name| keys.contains(&name.as_str()));
    let dashes = || entries.keys().any(|name| name.trim().starts_with("--"));
    match () {
        () if has(KOHYA_ONLY) && !has(NEVER_KOHYA) => Dialect::Kohya,
        () if has(SIMPLETUNER_ONLY) || dashes() => Dialect::SimpleTuner,
        () => Dialect::Sargent,
    }
}

/// The entries with those of tables beside them: kohya's configs may group keys in sections of any name.
pub fn flattened(entries: &Map<String, Value>) -> Map<String, Value> {
    let mut flat = Map::new();
    for (name, value) in entries {
        match value {
            Value::Object(section) => flat.extend(section.clone()),
            value => {
                flat.insert(name.clone(), value.clone());
            }
        }
    }
    flat
}
