//! A setup as its files: how they name each other, and the run that they make.

use super::captions::Captioning;
use super::{Reason, Wishes, prompts, reason};
use crate::error::{Error, ErrorKind, Result};
use crate::files;
use crate::run::Opened;
use crate::settings::{self, RunSettings};
use serde_json::{Map, Value, json};
use std::path::Path;
use tempfile::TempDir;

/// The settings of the run.
const CONFIG: &str = "config.json";
/// The data sets.
const DATA_BACKENDS: &str = "multidatabackend.json";
/// The prompts of the validation images.
const PROMPTS: &str = "prompts.json";

/// The files of a setup, each after those that it names.
pub const FILES: [&str; 3] = [PROMPTS, DATA_BACKENDS, CONFIG];

/// A setup that is being made. It is tried out as files in a folder that is gone with it, so that what is tried is
/// read just as the finished files will be.
pub struct Draft {
    settings: Map<String, Value>,
    given: Map<String, Value>,
    data_backends: Value,
    prompts: Map<String, Value>,
    folder: TempDir,
}

impl Draft {
    /// A setup that names model and pictures, and nothing else yet.
    pub fn new(wishes: &Wishes, captioning: &Captioning) -> Result<Self> {
        let output = wishes.folder.join("output");
        let settings = json!({
            "pretrained_model_name_or_path": wishes.model,
            "output_dir": text(&output)?,
            "max_train_steps": 1,
            "seed": 42,
        });
        let mut entry =
            json!({ "id": "pictures", "type": "local", "instance_data_dir": text(&wishes.images)? });
        for (key, value) in captioning.of_data_set() {
            entry[key] = value;
        }
        let temporary = tempfile::tempdir().map_err(|e| Error::io(&std::env::temp_dir(), &e))?;
        Ok(Self {
            settings: settings.as_object().cloned().unwrap_or_default(),
            given: wishes.set.iter().map(|(key, value)| (canonical(key), spelt(value))).collect(),
            data_backends: json!([entry]),
            prompts: Map::new(),
            folder: temporary,
        })
    }

    /// Sets a setting, unless the user has given it.
    pub fn set(&mut self, key: &'static str, value: Value) {
        self.settings.insert(key.to_owned(), value);
    }

    /// [`set`](Self::set), several.
    pub fn set_all(&mut self, settings: impl IntoIterator<Item = (&'static str, Value)>) {
        settings.into_iter().for_each(|(key, value)| self.set(key, value));
    }

    /// Draws some of the captions of `opened`, which then is a run that draws them.
    pub fn draw(&mut self, opened: &mut Opened, trigger: Option<&str>) -> Result<()> {
        self.prompts = prompts::from_captions(&opened.dataset.samples, trigger);
        opened.settings.validation_prompts = self.settings()?.validation_prompts;
        Ok(())
    }

    /// What is drawn.
    pub fn why_prompts(&self) -> Option<Reason> {
        let count = self.prompts.len();
        let why = format!("{} captions, and a subject that is new", count.checked_sub(1)?);
        Some(reason("user_prompt_library", format!("{count} prompts"), why))
    }

    /// Whether the user has given the setting.
    pub fn is_given(&self, key: &str) -> bool {
        self.given.contains_key(key)
    }

    /// The files, as they are to lie in `folder`.
    pub fn files(&self, folder: &Path) -> Result<Vec<(&'static str, Value)>> {
        let mut settings = self.settings.clone();
        settings.insert("data_backend_config".to_owned(), text(&folder.join(DATA_BACKENDS))?.into());
        settings.insert("user_prompt_library".to_owned(), text(&folder.join(PROMPTS))?.into());
        if self.is_given("num_train_epochs") {
            settings.remove("max_train_steps");
        }
        settings.extend(self.given.clone());
        let contents = [self.prompts.clone().into(), self.data_backends.clone(), settings.into()];
        Ok(FILES.into_iter().zip(contents).collect())
    }

    /// The settings as `train` would read them.
    pub fn settings(&self) -> Result<RunSettings> {
        for (name, content) in self.files(self.folder.path())? {
            files::replace_bytes(&self.folder.path().join(name), content.to_string().as_bytes())?;
        }
        RunSettings::load(&self.folder.path().join(CONFIG), &[])
    }

    /// The run.
    pub fn open(&self) -> Result<Opened> {
        let settings = self.settings()?;
        let data = settings.data_backends()?;
        Opened::open(settings, data, false)
    }
}

/// The name of a setting; one that is none stays as it is, for the reader of the files to refuse.
fn canonical(key: &str) -> String {
    settings::name_of(key).unwrap_or(key).to_owned()
}

/// A value as a settings file would have it: numbers and switches without quotes.
fn spelt(value: &str) -> Value {
    match serde_json::from_str(value) {
        Ok(plain @ (Value::Number(_) | Value::Bool(_))) => plain,
        _ => value.into(),
    }
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().ok_or_else(|| {
        Error::new(ErrorKind::Usage, path.display().to_string(), "the path is not valid UTF-8")
            .hint("settings files are UTF-8: choose another folder")
    })
}
