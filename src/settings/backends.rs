//! The list of data sets (multidatabackend.json).

use super::choices::{CaptionStrategy, CropAspect, CropStyle};
use super::keys::{Effect::*, Section, key};
use super::kind::{Kind::*, LARGEST_EDGE, shown};
use super::places::Missing;
use super::read::{self, Given};
use super::run::{RunSettings, in_header};
use super::{kohya, resume, simpletuner, source};
use crate::error::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};

/// The settings of an entry. A default that is the run's is taken from the key of the same name there.
#[rustfmt::skip]
pub const BACKEND: &[Section] = &[Section { title: "Data sets", keys: &[
    key("id", Text, "", Pinned,
        "The entry's name, its own. Required."),
    key("type", Choice(&[&["local"]]), "local", Reading,
        "Where the files are."),
    key("dataset_type", Choice(&[&[IMAGES], &[TEXT_EMBEDS], &[IMAGE_EMBEDS]]), IMAGES, Reading,
        "Pictures to train on, or merely the place (cache_dir) of a cache."),
    key("disabled", Switch, "false", Reading,
        "Leave the entry out.")
        .or(&["disable"]),
    key("default", Switch, "false", Reading,
        "Which of several caches of one kind is used; else the first."),
    key("instance_data_dir", Source, "", Pinned,
        "The folder of pictures, folders in it included. Required.")
        .or(&["instance_data_root"]),
    key("caption_strategy", Choice(CaptionStrategy::WORDS), "", Weights,
        "Where captions come from. The run's by default."),
    key("instance_prompt", Text, "", Weights,
        "The caption of `instanceprompt`. The run's by default."),
    key("prepend_instance_prompt", Switch, "", Weights,
        "Put the instance prompt and a space before every caption. The run's by default."),
    key("only_instance_prompt", Switch, "", Weights,
        "Ignore captions; the same as caption_strategy `instanceprompt`. The run's by default."),
    key("repeats", Whole(0, 1_000_000), "0", Weights,
        "Extra passes over the pictures in an epoch: n gives n + 1 passes."),
    key("resolution", Edge, "", Weights,
        "Edge of the square bucket, in pixels. The run's by default."),
    key("crop", Switch, "false", Weights,
        "Crop to crop_aspect. Without it, pictures are cropped no more than their bucket demands."),
    key("crop_style", Choice(CropStyle::WORDS), "center", Weights,
        "Which part of a picture is kept."),
    key("crop_aspect", Choice(CropAspect::WORDS), "square", Weights,
        "With crop: `square`, or `preserve` for the bucket nearest to the picture's shape."),
    key("minimum_image_size", Whole(0, LARGEST_EDGE), "0", Weights,
        "Leave out pictures whose shorter side has fewer pixels."),
    key("cache_dir_vae", Target, "", Free,
        "Where latents are kept. The run's by default."),
    key("cache_dir", Target, "", Reading,
        "The place of the cache, in a `text_embeds` or `image_embeds` entry."),
]}];

const IMAGES: &str = "image";
const TEXT_EMBEDS: &str = "text_embeds";
const IMAGE_EMBEDS: &str = "image_embeds";

/// What an entry takes from the run when it does not say.
const INHERITED: [&str; 6] = [
    "caption_strategy",
    "instance_prompt",
    "prepend_instance_prompt",
    "only_instance_prompt",
    "resolution",
    "cache_dir_vae",
];

/// A data set: the rows of its table that bear on pictures, resolved against the run's settings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)] // The table documents them; a second wording would drift from it.
pub struct BackendSettings {
    pub id: String,
    pub instance_data_dir: PathBuf,
    pub caption_strategy: CaptionStrategy,
    pub instance_prompt: Option<String>,
    pub prepend_instance_prompt: bool,
    pub only_instance_prompt: bool,
    pub repeats: u32,
    pub resolution: u32,
    pub crop: bool,
    pub crop_style: CropStyle,
    pub crop_aspect: CropAspect,
    pub minimum_image_size: u32,
    pub cache_dir_vae: PathBuf,
}

impl BackendSettings {
    /// How often an epoch sees each picture.
    pub fn passes(&self) -> u32 {
        self.repeats + 1
    }

    /// Whether every picture is cropped to a square.
    pub fn only_square(&self) -> bool {
        self.crop && self.crop_aspect == CropAspect::Square
    }
}

/// The data sets of a run.
#[derive(Debug, Clone)]
pub struct DataBackends {
    /// The data sets of pictures, in the order of the file; at least one.
    pub images: Vec<BackendSettings>,
    /// Where text embeddings are kept.
    pub cache_dir_text: PathBuf,
    /// Keys of other trainers that were given and have no effect, each with the reason.
    pub ignored: Vec<(String, String)>,
    /// Folders and files to read that are not there.
    missing: Vec<Missing>,
}

impl RunSettings {
    /// Reads the list of data sets.
    ///
    /// # Errors
    /// A file that cannot be read, an unknown key, a value that its key cannot have, an id that occurs twice,
    /// a missing folder or prompt, or no pictures at all.
    pub fn data_backends(&self) -> Result<DataBackends> {
        let path = &self.data_backend_config;
        let at_file = |error: Error| Error { place: format!("{}: {}", path.display(), error.place), ..error };
        self.refuse_missing(|key| key == "data_backend_config")?;
        let data = DataBackends::of_file(path, self).map_err(at_file)?;
        data.missing.first().map_or(Ok(()), |missing| Err(at_file(missing.error(None))))?;
        Ok(data)
    }
}

impl DataBackends {
    /// The data sets in a multidatabackend.json, or those of a kohya config.
    fn of_file(path: &Path, run: &RunSettings) -> Result<Self> {
        let written = source::structured(path)?;
        if !written.is_object() {
            return Self::from_json(&with_what_holds_for_all(written, run), run, path.parent());
        }
        let (list, ignored) = kohya::data_sets(&written, run, path)?;
        let mut data = Self::from_json(&list, run, path.parent())?;
        data.ignored.splice(..0, ignored);
        Ok(data)
    }

    /// The data sets in `json`, a list that stands in `folder` if in a file.
    pub fn from_json(json: &Value, run: &RunSettings, folder: Option<&Path>) -> Result<Self> {
        let list = json.as_array().ok_or_else(|| {
            refused("the list of data sets", "it is not a JSON list").hint("write [ { \"id\": … }, … ]")
        })?;
        let mut entries = Vec::new();
        for (index, json) in list.iter().enumerate() {
            entries.push(Entry::read(index, json, folder)?);
        }
        refuse_equal_ids(&entries)?;
        entries.retain(|entry| !entry.is_on("disabled"));
        let mut run_values = run.as_used();
        if let Some(place) = cache_dir(&entries, IMAGE_EMBEDS) {
            run_values["cache_dir_vae"] = place.clone();
        }
        let images = entries.iter().filter(|entry| entry.is(IMAGES));
        let images = images.map(|entry| entry.resolve(&run_values)).collect::<Result<Vec<_>>>()?;
        if images.is_empty() {
            return Err(refused("the list of data sets", "no entry has pictures to train on")
                .hint("add an entry with an id and instance_data_dir"));
        }
        let cache_dir_text = cache_dir(&entries, TEXT_EMBEDS).and_then(Value::as_str).map(PathBuf::from);
        Ok(Self {
            images,
            cache_dir_text: cache_dir_text.unwrap_or_else(|| run.cache_dir_text.clone()),
            missing: entries.iter().flat_map(|entry| entry.given.missing.clone()).collect(),
            ignored: entries.into_iter().flat_map(|entry| entry.given.ignored).collect(),
        })
    }

    /// The data sets as a list with every effective value; reads back to the same.
    pub fn as_used(&self) -> Value {
        // This fails for a path that is not UTF-8 only, and reading has refused those.
        serde_json::to_value(&self.images).unwrap_or_default()
    }

    /// What of the data sets bears on the trained weights, without paths.
    pub fn changes_weights(&self) -> Value {
        match self.as_used() {
            Value::Array(sets) => sets.iter().map(|set| in_header(BACKEND, set)).collect(),
            other => other,
        }
    }

    /// Refuses to resume a run that was begun with the data sets `saved` (its [`as_used`](Self::as_used)) when
    /// they differ in what must not change.
    pub fn refuse_change_on_resume(&self, saved: &Value) -> Result<()> {
        let before = saved.as_array().map_or(&[][..], Vec::as_slice);
        let now = self.as_used();
        let now = now.as_array().map_or(&[][..], Vec::as_slice);
        let ids =
            |sets: &[Value]| sets.iter().map(|set| set["id"].to_string()).collect::<Vec<_>>().join(", ");
        if ids(before) != ids(now) {
            return Err(refused(
                "the list of data sets",
                format!("was {} and is now {}", ids(before), ids(now)),
            )
            .hint("a resumed run keeps the data that it began with"));
        }
        for (before, now) in before.iter().zip(now) {
            let at_set = |error| at_entry(now["id"].as_str().unwrap_or_default(), error);
            resume::refuse_change(BACKEND, before, now).map_err(at_set)?;
        }
        Ok(())
    }
}

/// The list with the keys of data sets that the settings file has for all of them.
fn with_what_holds_for_all(mut list: Value, run: &RunSettings) -> Value {
    let sets = list.as_array_mut().into_iter().flatten().filter_map(Value::as_object_mut);
    let of_pictures = |set: &Map<String, Value>| set.get("dataset_type").is_none_or(|kind| kind == IMAGES);
    for set in sets.filter(|set| of_pictures(set)) {
        for (name, value) in &run.origin.of_data_sets {
            set.entry(name).or_insert_with(|| value.clone());
        }
    }
    list
}

/// An entry as given, with the name by which errors call it.
struct Entry {
    name: String,
    given: Given,
}

impl Entry {
    fn read(index: usize, json: &Value, folder: Option<&Path>) -> Result<Self> {
        let number = format!("number {}", index + 1);
        let object =
            json.as_object().ok_or_else(|| at_entry(&number, refused("", "it is not a JSON object")))?;
        let name = object.get("id").and_then(Value::as_str).unwrap_or(&number).to_owned();
        let filled = object.iter().map(|(key, value)| (key.clone(), simpletuner::filled(value, &name)));
        let given = read::object(&filled.collect(), BACKEND, folder).map_err(|e| at_entry(&name, e))?;
        if !given.values.contains_key("id") {
            return Err(at_entry(&number, Error::setting("id", "it is required and not set")));
        }
        Ok(Self { name, given })
    }

    fn is(&self, dataset_type: &str) -> bool {
        self.given.values.get("dataset_type").and_then(Value::as_str).unwrap_or(IMAGES) == dataset_type
    }

    fn is_on(&self, switch: &str) -> bool {
        self.given.values.get(switch) == Some(&true.into())
    }

    /// The settings of a set of pictures, with the run's where it has none of its own.
    fn resolve(&self, run: &Value) -> Result<BackendSettings> {
        let mut values = self.given.values.clone();
        for name in INHERITED {
            if !values.contains_key(name) && !run[name].is_null() {
                values.insert(name.to_owned(), run[name].clone());
            }
        }
        self.build(&values).map_err(|error| at_entry(&self.name, error))
    }

    fn build(&self, values: &Map<String, Value>) -> Result<BackendSettings> {
        if !values.contains_key("instance_data_dir") {
            return Err(Error::setting("instance_data_dir", "it is required and not set")
                .hint("name the folder of pictures"));
        }
        let values = read::with_defaults(values, BACKEND)?;
        let set: BackendSettings =
            serde_json::from_value(values.into()).map_err(|e| refused("", e.to_string()))?;
        with_captions_settled(set)
    }
}

/// Lets `only_instance_prompt` be a caption strategy, and demands the prompt where it is used.
fn with_captions_settled(mut set: BackendSettings) -> Result<BackendSettings> {
    if set.only_instance_prompt {
        set.caption_strategy = CaptionStrategy::InstancePrompt;
    }
    let is_caption = set.caption_strategy == CaptionStrategy::InstancePrompt;
    if is_caption {
        set.prepend_instance_prompt = false;
    }
    if (is_caption || set.prepend_instance_prompt) && set.instance_prompt.is_none() {
        let user = if is_caption { "caption_strategy `instanceprompt`" } else { "prepend_instance_prompt" };
        return Err(Error::setting("instance_prompt", format!("not set, while {user} needs it")));
    }
    Ok(set)
}

/// The cache's place of the first entry of its type, one that is marked as default first.
fn cache_dir<'a>(entries: &'a [Entry], dataset_type: &str) -> Option<&'a Value> {
    let mut places = entries.iter().filter(|entry| entry.is(dataset_type)).collect::<Vec<_>>();
    places.sort_by_key(|entry| !entry.is_on("default"));
    places.first().and_then(|entry| entry.given.values.get("cache_dir"))
}

fn refuse_equal_ids(entries: &[Entry]) -> Result<()> {
    for (index, entry) in entries.iter().enumerate() {
        let id = &entry.given.values["id"];
        if entries[..index].iter().any(|earlier| earlier.given.values["id"] == *id) {
            let cause = format!("{} occurs twice", shown(id));
            return Err(at_entry(
                &entry.name,
                Error::setting("id", cause).hint("give each entry a name of its own"),
            ));
        }
    }
    Ok(())
}

fn refused(place: &str, cause: impl Into<String>) -> Error {
    Error::new(ErrorKind::Settings, place, cause)
}

fn at_entry(name: &str, error: Error) -> Error {
    let place = format!("data set {}, {}", shown(&name.into()), error.place);
    Error { place: place.trim_end_matches(", ").to_owned(), ..error }
}
