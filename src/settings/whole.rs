//! Settings written whole, so that a run can be repeated from its output folder alone.

use super::backends::DataBackends;
use super::run::RunSettings;
use serde_json::{Map, Value, json};
use std::path::Path;

/// What is written of settings.
#[derive(Debug, Clone, PartialEq)]
pub struct Whole {
    /// Every setting with its value, naming the two files below.
    pub settings: Value,
    /// The data sets, and where text embeddings are kept.
    pub data_backends: Value,
    /// The prompt library, `{"name": "prompt"}`, if there is one.
    pub prompts: Option<Value>,
}

/// Settings that say where a run begins, not what it is.
const OF_THE_BEGINNING: [&str; 2] = ["overwrite", "resume_from_checkpoint"];

impl RunSettings {
    /// The settings as they are to be written, where the data sets and the prompts will be the files at
    /// `data_backends` and `prompts`.
    pub fn whole(&self, data: &DataBackends, data_backends: &Path, prompts: &Path) -> Whole {
        let mut settings = self.as_used();
        let mut set = |name: &str, path: &Path| settings[name] = path.display().to_string().into();
        set("data_backend_config", data_backends);
        let library = self.user_prompt_library.as_ref().map(|_| self.library());
        if library.is_some() {
            set("user_prompt_library", prompts);
        }
        if let Value::Object(settings) = &mut settings {
            OF_THE_BEGINNING.iter().for_each(|name| drop(settings.shift_remove(*name)));
            settings.retain(|_, value| !value.is_null());
        }
        Whole { settings, data_backends: sets(data), prompts: library }
    }

    /// The prompts of the library, without the one that is given directly.
    fn library(&self) -> Value {
        let direct = usize::from(self.validation_prompt.is_some());
        let count = self.validation_prompts.len().saturating_sub(direct);
        let named = self.validation_prompts.iter().take(count);
        named.map(|prompt| (prompt.name.clone(), prompt.text.as_str().into())).collect::<Map<_, _>>().into()
    }
}

/// The data sets with an entry for the cache of text embeddings.
fn sets(data: &DataBackends) -> Value {
    let mut sets = data.as_used();
    let taken = |id: &str| data.images.iter().any(|set| set.id == id);
    let ids = std::iter::successors(Some("text-embeds".to_owned()), |id| Some(format!("{id}-")));
    if let (Value::Array(list), Some(id)) = (&mut sets, ids.into_iter().find(|id| !taken(id))) {
        list.iter_mut()
            .filter_map(Value::as_object_mut)
            .for_each(|set| set.retain(|_, value| !value.is_null()));
        list.push(json!({"id": id, "dataset_type": "text_embeds", "default": true,
            "cache_dir": data.cache_dir_text}));
    }
    sets
}
