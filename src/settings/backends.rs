//! The list of data sets (multidatabackend.json).

use super::caption_shuffle;
use super::captions::{self, CaptionTable};
use super::choices::{CaptionLines, CaptionStrategy, CropAspect, CropStyle, ResolutionType};
use super::data_set;
use super::elsewhere;
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
    key("caption_lines", Choice(CaptionLines::WORDS), "", Weights,
        "What the lines of a caption's text file are. The run's by default."),
    key("disable_multiline_split", Switch, "", Reading,
        "`true` is caption_lines `whole`."),
    key("caption_extension", Text, "", Weights,
        "What caption files end in. The run's by default."),
    key("parquet", Block, "", Pinned,
        "The table of captions, of the keys below.")
        .or(&["csv"]),
    key("csv_file", Source, "", Reading,
        "`path` in the block `parquet`."),
    key("csv_caption_column", Text, "", Reading,
        "`caption_column` in the block `parquet`."),
    key("metadata_file", Source, "", Reading,
        "`path` in the block `parquet`: the table of caption_strategy `metadata`, if it is not called that.")
        .or(&["in_json"]),
    key("class_tokens", Text, "", Weights,
        "The caption of a picture that has none: sd-scripts' key."),
    key("caption_prefix", Text, "", Weights,
        "Put before every caption, with a space between."),
    key("caption_suffix", Text, "", Weights,
        "Put behind every caption, with a space between."),
    key("caption_filter_list", Texts, "", Weights,
        "What is removed from captions: a list, or a `.txt` (one a line) or `.json` file of texts and regular \
         expressions; `s/old/new/` replaces. By default that of the `text_embeds` entry."),
    key("trigger_word", Text, "", Weights,
        "Takes the place of `[trigger]` in captions, and is put before captions that lack it. The run's by default."),
    key("text_embeds", Text, "", Reading,
        "The id of the `text_embeds` entry whose caption_filter_list holds; by default the first or the default one.")
        .or(&["text_embed_cache"]),
    key("instance_prompt", Text, "", Weights,
        "The caption of `instanceprompt`. The run's by default."),
    key("prepend_instance_prompt", Switch, "", Weights,
        "Put the instance prompt and a space before every caption. The run's by default."),
    key("only_instance_prompt", Switch, "", Weights,
        "Ignore captions; the same as caption_strategy `instanceprompt`. The run's by default."),
    key("caption_dropout_probability", Real(0.0, 1.0), "", Weights,
        "How often a caption is replaced by the empty one. The run's by default.")
        .or(&["caption_dropout_rate"]),
    key("shuffle_caption", Switch, "", Weights,
        "Put a caption's parts in another order each time. The run's by default.")
        .or(&["shuffle_tokens", "enable_tag_shuffling"]),
    key("keep_tokens", Whole(0, 10_000), "", Weights,
        "Parts at a caption's beginning that are neither moved nor left out. The run's by default.")
        .or(&["keep_tags_count"]),
    key("keep_tokens_separator", Text, "", Weights,
        "What ends the kept beginning of a caption instead. The run's by default."),
    key("caption_separator", Separator, "", Weights,
        "What stands between a caption's parts. The run's by default.")
        .or(&["tag_delimiter"]),
    key("secondary_separator", Text, "", Weights,
        "What stands for caption_separator inside a part. The run's by default."),
    key("caption_tag_dropout_rate", Real(0.0, 1.0), "", Weights,
        "How often each part of a caption is left out. The run's by default.")
        .or(&["token_dropout_rate", "tag_dropout_probability"]),
    key("enable_wildcard", Switch, "", Weights,
        "Read `{a|b}` in a caption as one of a and b. The run's by default."),
    key("caption_shuffle", Pairs, "", Reading,
        "SimpleTuner's block for shuffle_caption, caption_separator and keep_tokens."),
    key("repeats", Whole(0, 1_000_000), "0", Weights,
        "Extra passes over the pictures in an epoch: n gives n + 1 passes."),
    key("num_repeats", Whole(1, 1_000_001), "", Reading,
        "Passes over the pictures in an epoch, as kohya counts them: n is repeats n - 1."),
    key("probability", Real(0.0, 1000.0), "1", Weights,
        "The data set gives so many times its batches to an epoch, and goes on in the next where it stopped. See \
         data_backend_sampling."),
    key("loss_weight", Real(0.0, 1000.0), "1", Weights,
        "What the loss of these pictures is multiplied by.")
        .or(&["loss_multiplier"]),
    key("is_reg", Switch, "false", Weights,
        "Regularisation pictures as kohya has them: their loss is multiplied by the run's prior_loss_weight too."),
    key("is_regularisation_data", Switch, "false", Weights,
        "Regularisation pictures as SimpleTuner has them: the target is what the model predicts without adapters.")
        .or(&["is_regularization_data"]),
    key("resolution", Resolution, "", Weights,
        "Edge of the square bucket, in pixels, or megapixels. The run's by default."),
    key("resolution_type", Choice(ResolutionType::WORDS), "", Weights,
        "What resolution and the sizes below measure. The run's by default."),
    key("crop", Switch, "false", Weights,
        "Crop to crop_aspect. Without it, pictures are cropped in the middle, no more than their bucket demands."),
    key("crop_style", Choice(CropStyle::WORDS), "center", Weights,
        "With crop, which part of a picture is kept; `random` is another one in each of augmentation_variants views, \
         `corner` the lower right. Faces are found by `sargent prepare`."),
    key("crop_aspect", Choice(CropAspect::WORDS), "square", Weights,
        "With crop: `square`; `preserve` for the bucket nearest to the picture's shape; `closest` for the nearest of \
         crop_aspect_buckets, `random` for any of them."),
    key("crop_aspect_buckets", Ratios, "", Weights,
        "Aspect ratios, width over height."),
    key("minimum_image_size", Real(0.0, LARGEST_EDGE as f64), "", Weights,
        "Leave out smaller pictures, as resolution_type measures them. The run's by default."),
    key("maximum_image_size", Real(0.0, LARGEST_EDGE as f64), "", Weights,
        "Scale larger pictures down to target_downsample_size before they are cropped, so that a crop shows no more \
         of them than of others; 0 is off. The run's by default."),
    key("target_downsample_size", Real(0.0, LARGEST_EDGE as f64), "", Weights,
        "See maximum_image_size."),
    key("minimum_aspect_ratio", Real(0.0, 100.0), "", Weights,
        "Leave out pictures whose width over height is lower."),
    key("maximum_aspect_ratio", Real(0.0, 100.0), "", Weights,
        "Leave out pictures whose width over height is higher."),
    key("max_num_samples", Whole(0, i64::MAX), "0", Weights,
        "Take no more than so many pictures, by chance; 0 takes all."),
    key("flip_aug", Switch, "false", Weights,
        "Show pictures mirrored, left to right, half of the time.")
        .or(&["random_flip", "horizontal_flip"]),
    key("random_rotation", Real(0.0, 45.0), "0", Weights,
        "Turn pictures by up to so many degrees either way, cropped so that no corner is empty."),
    key("random_hue", Real(0.0, 0.5), "0", Weights,
        "Shift hues by up to this share of the colour circle either way."),
    key("random_saturation", Real(0.0, 1.0), "0", Weights,
        "Multiply the saturation by 1 - this to 1 + this."),
    key("random_brightness", Real(0.0, 1.0), "0", Weights,
        "Multiply the brightness by 1 - this to 1 + this."),
    key("random_contrast", Real(0.0, 1.0), "0", Weights,
        "Multiply the contrast by 1 - this to 1 + this."),
    key("color_aug", Switch, "", Reading,
        "kohya's: `true` is random_hue 0.044."),
    key("augmentation_variants", Whole(1, 1000), "4", Weights,
        "Views that are made of each picture by the random keys above and by random crops; the first is unchanged, \
         and every appearance shows any of them. Flipping alone has two."),
    key("cache_dir_vae", Target, "", Free,
        "Where latents are kept. The run's by default."),
    key("cache_dir", Target, "", Reading,
        "The place of the cache, in a `text_embeds` or `image_embeds` entry."),
]}];

const IMAGES: &str = "image";
const TEXT_EMBEDS: &str = "text_embeds";
const IMAGE_EMBEDS: &str = "image_embeds";

/// What an entry takes from the run when it does not say.
const INHERITED: [&str; 18] = [
    "caption_strategy",
    "caption_lines",
    "caption_extension",
    "trigger_word",
    "instance_prompt",
    "prepend_instance_prompt",
    "only_instance_prompt",
    "caption_dropout_probability",
    "shuffle_caption",
    "keep_tokens",
    "keep_tokens_separator",
    "caption_separator",
    "secondary_separator",
    "caption_tag_dropout_rate",
    "enable_wildcard",
    "resolution",
    "resolution_type",
    "cache_dir_vae",
];

/// What it takes from the run as well, unless it measures sizes in another way.
const INHERITED_SIZES: [&str; 3] = ["minimum_image_size", "maximum_image_size", "target_downsample_size"];

/// A data set: the rows of its table that bear on pictures, resolved against the run's settings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)] // The table documents them; a second wording would drift from it.
pub struct BackendSettings {
    pub id: String,
    pub instance_data_dir: PathBuf,
    pub caption_strategy: CaptionStrategy,
    pub caption_lines: CaptionLines,
    pub caption_extension: Option<String>,
    pub parquet: Option<CaptionTable>,
    pub class_tokens: Option<String>,
    pub caption_prefix: Option<String>,
    pub caption_suffix: Option<String>,
    #[serde(default)]
    pub caption_filter_list: Vec<String>,
    pub trigger_word: Option<String>,
    pub instance_prompt: Option<String>,
    pub prepend_instance_prompt: bool,
    pub only_instance_prompt: bool,
    pub caption_dropout_probability: f64,
    pub shuffle_caption: bool,
    pub keep_tokens: usize,
    pub keep_tokens_separator: Option<String>,
    pub caption_separator: String,
    pub secondary_separator: Option<String>,
    pub caption_tag_dropout_rate: f64,
    pub enable_wildcard: bool,
    pub repeats: u32,
    pub probability: f64,
    pub loss_weight: f64,
    pub is_reg: bool,
    pub is_regularisation_data: bool,
    pub resolution: u32,
    pub resolution_type: ResolutionType,
    pub crop: bool,
    pub crop_style: CropStyle,
    pub crop_aspect: CropAspect,
    pub crop_aspect_buckets: Option<Vec<f64>>,
    pub minimum_image_size: Option<f64>,
    pub maximum_image_size: Option<f64>,
    pub target_downsample_size: Option<f64>,
    pub minimum_aspect_ratio: Option<f64>,
    pub maximum_aspect_ratio: Option<f64>,
    pub max_num_samples: u64,
    pub flip_aug: bool,
    pub random_rotation: f64,
    pub random_hue: f64,
    pub random_saturation: f64,
    pub random_brightness: f64,
    pub random_contrast: f64,
    pub augmentation_variants: u32,
    pub cache_dir_vae: PathBuf,
    /// Whether the repeats were written as kohya's `num_repeats`, which counts all passes.
    #[serde(skip)]
    pub repeats_are_passes: bool,
}

impl BackendSettings {
    /// How often an epoch sees each picture.
    pub fn passes(&self) -> u32 {
        self.repeats + 1
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
        let missing = data.missing.iter().find(|missing| !captions::TABLES.contains(&missing.key));
        missing.map_or(Ok(()), |missing| Err(at_file(missing.error(None))))?;
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
        let mut images = Vec::new();
        for entry in entries.iter().filter(|entry| entry.is(IMAGES)) {
            images.push(entry.resolve(&run_values, text_embeds_of(entry, &entries)?)?);
        }
        if images.is_empty() {
            return Err(refused("the list of data sets", "no entry has pictures to train on")
                .hint("add an entry with an id and instance_data_dir"));
        }
        let unused = unused_places(&entries, &images);
        let cache_dir_text = cache_dir(&entries, TEXT_EMBEDS).and_then(Value::as_str).map(PathBuf::from);
        Ok(Self {
            images,
            cache_dir_text: cache_dir_text.unwrap_or_else(|| run.cache_dir_text.clone()),
            missing: entries.iter().flat_map(|entry| entry.given.missing.clone()).collect(),
            ignored: entries.into_iter().flat_map(|entry| entry.given.ignored).chain(unused).collect(),
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
        let object = &filled.collect::<Map<_, _>>();
        let is_on = |key: &str| object.get(key).is_some_and(|value| Switch.read(value) == Ok(true.into()));
        let elsewhere = elsewhere::refuse(object).map_err(|e| at_entry(&name, e));
        if elsewhere.is_err() && (is_on("disabled") || is_on("disable")) {
            // What the other keys of such an entry mean is known to the program alone that it was written for.
            let values = [("id".to_owned(), name.as_str().into()), ("disabled".to_owned(), true.into())];
            return Ok(Self { name, given: Given { values: Map::from_iter(values), ..Given::default() } });
        }
        elsewhere?;
        let mut given = read::object(object, BACKEND, folder).map_err(|e| at_entry(&name, e))?;
        captions::settle(&mut given, folder).map_err(|e| at_entry(&name, e))?;
        caption_shuffle::settle(&mut given).map_err(|e| at_entry(&name, e))?;
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

    /// The settings of a set of pictures, with the run's where it has none of its own, and the filter of its
    /// `text_embeds` entry.
    fn resolve(&self, run: &Value, text_embeds: Option<&Self>) -> Result<BackendSettings> {
        let mut values = self.given.values.clone();
        let filter = text_embeds.and_then(|entry| entry.given.values.get("caption_filter_list"));
        if let Some(filter) = filter.filter(|_| !values.contains_key("caption_filter_list")) {
            values.insert("caption_filter_list".to_owned(), filter.clone());
        }
        captions::with_block_complete(&mut values, run).map_err(|error| at_entry(&self.name, error))?;
        for name in INHERITED {
            inherit(&mut values, name, run);
        }
        if values["resolution_type"] == run["resolution_type"] {
            INHERITED_SIZES.iter().for_each(|name| inherit(&mut values, name, run));
        }
        self.build(values).map_err(|error| at_entry(&self.name, error))
    }

    fn build(&self, mut values: Map<String, Value>) -> Result<BackendSettings> {
        if !values.contains_key("instance_data_dir") {
            return Err(Error::setting("instance_data_dir", "it is required and not set")
                .hint("name the folder of pictures"));
        }
        data_set::shorthands(&mut values)?;
        let repeats_are_passes = values.contains_key("num_repeats");
        let values = read::with_defaults(&values, BACKEND)?;
        let mut set: BackendSettings =
            serde_json::from_value(values.into()).map_err(|e| refused("", e.to_string()))?;
        set.repeats_are_passes = repeats_are_passes;
        data_set::contradictions(&set)?;
        with_captions_settled(set)
    }
}

/// Takes the run's value of `name` where there is none.
fn inherit(values: &mut Map<String, Value>, name: &str, run: &Value) {
    if !values.contains_key(name) && !run[name].is_null() {
        values.insert(name.to_owned(), run[name].clone());
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
    let has_table = set.parquet.as_ref().is_some_and(|table| table.path.is_some());
    if set.caption_strategy == CaptionStrategy::Parquet && !has_table {
        return Err(Error::setting("parquet", "names no table, while the caption_strategy needs it").hint(
            "write \"parquet\": { \"path\": \"captions.parquet\" }; the table may also be .csv or .jsonl",
        ));
    }
    Ok(set)
}

/// The `text_embeds` entry of a set of pictures: the one that it names, else the default.
fn text_embeds_of<'a>(set: &Entry, entries: &'a [Entry]) -> Result<Option<&'a Entry>> {
    let caches = || entries.iter().filter(|entry| entry.is(TEXT_EMBEDS));
    let Some(id) = set.given.values.get("text_embeds") else {
        return Ok(caches().find(|entry| entry.is_on("default")).or_else(|| caches().next()));
    };
    let named = caches().find(|entry| entry.given.values.get("id") == Some(id));
    named.map(Some).ok_or_else(|| {
        let there: Vec<&str> = caches().map(|entry| entry.name.as_str()).collect();
        let error =
            Error::setting("text_embeds", format!("{} is no entry of dataset_type `text_embeds`", shown(id)));
        at_entry(&set.name, error.hint(format!("those there are: {}", there.join(", "))))
    })
}

/// The places of latents that are named beside the one that is used, each with the reason.
fn unused_places(entries: &[Entry], images: &[BackendSettings]) -> Vec<(String, String)> {
    let used = images.first().map(|set| set.cache_dir_vae.as_path());
    let named = entries.iter().filter(|entry| entry.is(IMAGES)).filter_map(|entry| {
        let place = entry.given.values.get("cache_dir_vae")?.as_str()?;
        (Some(Path::new(place)) != used).then(|| ("cache_dir_vae".to_owned(), entry.name.clone()))
    });
    let why =
        |(key, name)| (key, format!("data set \"{name}\": all latents lie where those of the first do"));
    named.map(why).collect()
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
