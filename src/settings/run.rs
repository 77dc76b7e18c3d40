//! The settings of a run, each as a field of its own type.

use super::backends::DataBackends;
use super::choices::{
    CaptionLines, CaptionStrategy, DataSampling, DeviceChoice, GradClipMethod, GuardAction, LoraInit,
    LoraTargets, LoraType, LossWeighting, LrScheduler, OptimizerKind, Recompute, ResolutionType, SaveDtype,
    SigmaDensity, Size,
};
use super::compat::{self, Compat};
use super::keys::{Key, RUN, Section};
use super::lycoris::{self, LycorisConfig};
use super::places::{self, Missing};
use super::prompts::{self, ValidationPrompt};
use super::read::{self, Given};
use super::source::{Dialect, Source, Translated};
use super::{MODEL, caption_shuffle, hub, kohya, resume, settle, simpletuner};
use crate::error::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};

/// What a run does. The fields are the rows of the table of keys, in its order and under its names; SETTINGS.md
/// says what each means. Defaults are filled in, paths are absolute, shorthands are resolved.
///
/// A path or text that is not set is empty where every training run has one, `None` where it is optional.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)] // The table documents them; a second wording would drift from it.
pub struct RunSettings {
    pub pretrained_model_name_or_path: PathBuf,
    pub text_encoder_path: Option<PathBuf>,
    pub text_encoder_2_path: Option<PathBuf>,
    pub text_encoder_3_path: Option<PathBuf>,
    pub tokenizer_path: Option<PathBuf>,
    pub tokenizer_2_path: Option<PathBuf>,
    pub tokenizer_3_path: Option<PathBuf>,
    pub vae_path: Option<PathBuf>,
    pub tokenizer_max_length: usize,

    #[serde(default)]
    pub output_dir: PathBuf,
    pub overwrite: bool,
    pub save_dtype: SaveDtype,

    #[serde(default)]
    pub data_backend_config: PathBuf,
    pub resolution: u32,
    pub resolution_type: ResolutionType,
    pub minimum_image_size: f64,
    pub maximum_image_size: Option<f64>,
    pub target_downsample_size: Option<f64>,
    pub caption_strategy: CaptionStrategy,
    pub caption_lines: CaptionLines,
    pub caption_extension: Option<String>,
    pub trigger_word: Option<String>,
    pub parquet_filename_column: Option<String>,
    pub parquet_caption_column: Option<String>,
    pub instance_prompt: Option<String>,
    pub prepend_instance_prompt: bool,
    pub only_instance_prompt: bool,
    pub caption_dropout_probability: f64,
    pub clip_l_dropout_rate: f64,
    pub clip_g_dropout_rate: f64,
    pub t5_dropout_rate: f64,
    pub shuffle_caption: bool,
    pub keep_tokens: usize,
    pub keep_tokens_separator: Option<String>,
    pub caption_separator: String,
    pub secondary_separator: Option<String>,
    pub caption_tag_dropout_rate: f64,
    pub enable_wildcard: bool,
    pub data_backend_sampling: DataSampling,
    pub prior_loss_weight: f64,
    pub skip_broken_images: bool,
    #[serde(default)]
    pub cache_dir: PathBuf,
    #[serde(default)]
    pub cache_dir_vae: PathBuf,
    #[serde(default)]
    pub cache_dir_text: PathBuf,

    pub lora_type: LoraType,
    pub lycoris_config: Option<Value>,
    pub lora_rank: usize,
    pub lora_alpha: f64,
    pub use_rslora: bool,
    pub use_dora: bool,
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub rank_pattern: Map<String, Value>,
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub alpha_pattern: Map<String, Value>,
    pub lora_dropout: f64,
    pub lora_targets: LoraTargets,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lora_blocks: Vec<usize>,
    pub lora_init_type: LoraInit,
    pub init_lora: Option<PathBuf>,

    pub max_train_steps: u64,
    pub num_train_epochs: u64,
    pub train_batch_size: usize,
    pub gradient_accumulation_steps: usize,
    pub seed: u64,
    pub recompute: Recompute,
    pub modulation_steps: usize,
    pub vae_band_rows: usize,
    pub device: DeviceChoice,
    pub compat: Compat,
    pub i_know_what_i_am_doing: bool,

    pub flow_schedule_shift: f64,
    pub flow_schedule_auto_shift: bool,
    pub sigma_density: SigmaDensity,
    pub logit_mean: f64,
    pub logit_std: f64,
    pub mode_scale: f64,
    pub loss_weighting: LossWeighting,

    pub optimizer: OptimizerKind,
    pub learning_rate: f64,
    pub lr_scheduler: LrScheduler,
    pub lr_warmup_steps: u64,
    pub lr_end: f64,
    pub lr_power: f64,
    pub lr_num_cycles: u64,
    pub adam_beta1: f64,
    pub adam_beta2: f64,
    pub adam_epsilon: f64,
    pub adam_weight_decay: f64,
    pub max_grad_norm: f64,
    pub grad_clip_method: GradClipMethod,
    pub use_ema: bool,
    pub ema_decay: f64,
    pub ema_update_after_step: u64,

    pub validation_prompt: Option<String>,
    pub user_prompt_library: Option<PathBuf>,
    #[serde(default)]
    pub validation_negative_prompt: String,
    pub validation_guidance: f64,
    #[serde(default)]
    pub validation_guidance_skip_layers: Vec<usize>,
    pub validation_guidance_skip_layers_start: f64,
    pub validation_guidance_skip_layers_stop: f64,
    pub validation_guidance_skip_scale: f64,
    pub validation_num_inference_steps: usize,
    pub validation_seed: u64,
    pub validation_steps: u64,
    pub validation_resolution: Vec<Size>,
    pub disable_benchmark: bool,
    pub validation_strengths: Vec<f64>,

    pub checkpointing_steps: u64,
    pub checkpoints_total_limit: usize,
    pub checkpoints_state_limit: usize,
    pub resume_from_checkpoint: Option<String>,

    pub eval_share: f64,
    pub eval_steps: u64,
    pub eval_noise_levels: usize,
    pub guard: GuardAction,
    pub guard_rise: f64,
    pub guard_patience: usize,
    pub guard_gradient_factor: f64,
    pub guard_lr_factor: f64,
    pub guard_rollbacks: u64,

    /// Every prompt to draw: the library's, then `validation_prompt`.
    #[serde(skip)]
    pub validation_prompts: Vec<ValidationPrompt>,
    /// Keys of other trainers that were given and have no effect, each with the reason.
    #[serde(skip)]
    pub ignored: Vec<(String, String)>,
    /// Where the settings come from.
    #[serde(skip)]
    pub origin: Origin,
}

/// Where settings come from: what was written, before defaults and meanings.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Origin {
    /// Whose names and defaults the file follows.
    pub dialect: Dialect,
    /// The values that were given, by canonical name.
    pub given: Map<String, Value>,
    /// What the file says of data sets that do not say it themselves.
    pub of_data_sets: Map<String, Value>,
    /// What is to be read and is not there.
    missing: Vec<Missing>,
}

impl RunSettings {
    /// The settings of a training run: the file `config`, or the one in that folder, over which `overrides` win.
    ///
    /// # Errors
    /// A file that cannot be read, an unknown key, a value that its key cannot have, settings that contradict
    /// each other, one that training needs and that is not set.
    pub fn load(config: &Path, overrides: &[(String, String)]) -> Result<Self> {
        let source = Source::open(config)?;
        let mut settings = Self::checked(Self::given(&source, source.path.parent(), overrides)?)?;
        settle::needed_to_train(&settings)?;
        settings.refuse_missing(|key| key == "user_prompt_library")?;
        settings.validation_prompts = prompts::all(&settings)?;
        settings.read_lycoris_config()?;
        Ok(settings)
    }

    /// What `lycoris_config` describes, where adapters are of its kinds.
    ///
    /// # Errors
    /// Those of [`LycorisConfig::parse`].
    pub fn lycoris(&self) -> Result<Option<LycorisConfig>> {
        match (&self.lycoris_config, self.lora_type) {
            (Some(value), LoraType::Lycoris) => LycorisConfig::parse(value).map(Some),
            _ => Ok(None),
        }
    }

    /// Puts the description in place of the path of its file.
    fn read_lycoris_config(&mut self) -> Result<()> {
        if let (Some(value), LoraType::Lycoris) = (&self.lycoris_config, self.lora_type) {
            self.lycoris_config = Some(lycoris::document(value)?);
            self.lycoris()?;
            if self.lora_dropout > 0.0 {
                let why = "adapters of lycoris_config have no dropout";
                self.ignored.push(("lora_dropout".to_owned(), why.to_owned()));
            }
        }
        Ok(())
    }

    /// Refuses paths to read that lead nowhere, of the settings that `meant` chooses; says where each was looked for.
    pub fn refuse_missing(&self, meant: impl Fn(&str) -> bool) -> Result<()> {
        let missing = self.origin.missing.iter().find(|missing| meant(missing.key));
        missing.map_or(Ok(()), |missing| Err(missing.error(revision(&self.origin.given))))
    }

    /// The settings for drawing images with `model`: the same table, without what only training needs.
    pub fn for_sampling(model: &Path, overrides: &[(String, String)]) -> Result<Self> {
        let model = model.to_str().ok_or_else(|| {
            Error::new(ErrorKind::Usage, model.display().to_string(), "the path is not valid UTF-8")
        })?;
        let json = Map::from_iter([(MODEL.to_owned(), model.into())]);
        let mut settings = Self::from_json(&json.into(), "", None, overrides)?;
        settings.validation_prompts = prompts::all(&settings)?;
        Ok(settings)
    }

    /// The settings for looking at the pictures in `folder` and their captions, with the model if there is one: the
    /// same table, and the folder as the one data set.
    pub fn for_captions(
        folder: &Path,
        model: Option<&Path>,
        overrides: &[(String, String)],
    ) -> Result<(Self, DataBackends)> {
        // The table demands a model; where there is none, nothing opens it.
        let settings = Self::for_sampling(model.unwrap_or(Path::new("no-model")), overrides)?;
        let name = folder.file_name().unwrap_or(folder.as_os_str()).to_string_lossy();
        let entry = serde_json::json!([{ "id": name, "instance_data_dir": folder.to_string_lossy() }]);
        let data = DataBackends::from_json(&entry, &settings, None)?;
        Ok((settings, data))
    }

    /// The settings in `json`, which stands in `folder` if in a file; nothing but the existence of paths is
    /// looked up on disk, and none has to exist.
    pub(super) fn from_json(
        json: &Value,
        place: &str,
        folder: Option<&Path>,
        overrides: &[(String, String)],
    ) -> Result<Self> {
        Self::checked(Self::given(&Source::of_json(Path::new(place), json)?, folder, overrides)?)
    }

    /// What `source` and `overrides` give.
    fn given(source: &Source, folder: Option<&Path>, overrides: &[(String, String)]) -> Result<GivenRun> {
        let translated = match source.dialect {
            Dialect::Kohya => kohya::training(source)?,
            Dialect::Sargent | Dialect::SimpleTuner => {
                let mut entries = source.entries.clone();
                let of_data_sets = simpletuner::of_data_sets(&mut entries);
                let from_there = source.dialect == Dialect::SimpleTuner;
                let random = from_there.then(|| simpletuner::without_random_seeds(&mut entries));
                Translated { entries, of_data_sets, ignored: random.unwrap_or_default() }
            }
        };
        let mut given = read::object(&translated.entries, RUN, folder)?;
        given.ignored.splice(..0, source.ignored.iter().chain(&translated.ignored).cloned());
        read::overrides(&mut given, overrides, RUN)?;
        caption_shuffle::settle(&mut given)?;
        let origin = Origin {
            dialect: source.dialect,
            given: given.values.clone(),
            of_data_sets: translated.of_data_sets,
            missing: Vec::new(),
        };
        match source.dialect {
            Dialect::Kohya => kohya::fill_defaults(&mut given.values),
            Dialect::SimpleTuner => simpletuner::resolve(&mut given),
            Dialect::Sargent => {}
        }
        model_from_hub(&mut given)?;
        let origin = Origin { missing: given.missing, ..origin };
        Ok(GivenRun { origin, values: given.values, ignored: given.ignored })
    }

    fn checked(mut given: GivenRun) -> Result<Self> {
        if let Some(compat) = given.values.get("compat").and_then(Value::as_str)
            && let Compat::SimpleTuner(version) =
                compat.parse().map_err(|cause: String| Error::setting("compat", cause))?
        {
            compat::apply(&mut given.values, version)?;
        }
        settle::shorthands(&mut given.values)?;
        settle::turbo(&mut given.values);
        settle::needed_always(&given.values)?;
        let mut values = read::with_defaults(&given.values, RUN)?;
        settle::meanings(&mut values);
        let mut settings: Self = serde_json::from_value(values.into())
            .map_err(|e| Error::new(ErrorKind::Settings, "settings", e.to_string()))?;
        settings.ignored = given.ignored;
        if settings.lora_type == LoraType::Standard && settings.lycoris_config.take().is_some() {
            let why = "adapters are low-rank pairs; lora_type `lycoris` makes use of it";
            settings.ignored.push(("lycoris_config".to_owned(), why.to_owned()));
        }
        settings.origin = given.origin;
        settle::contradictions(&settings)?;
        Ok(settings)
    }

    /// Every key with its effective value; loads back to the same settings, from any folder.
    pub fn as_used(&self) -> Value {
        // This fails for a path that is not UTF-8 only, and reading has refused those.
        serde_json::to_value(self).unwrap_or_default()
    }

    /// Whether an epoch is SimpleTuner's: every pass begins all buckets anew, and short batches are filled with
    /// pictures drawn again.
    pub fn fills_short_batches(&self) -> bool {
        self.compat != Compat::None
    }

    /// The settings that bear on the trained weights, in the table's order: no paths, times, validation,
    /// checkpoint or resume settings.
    pub fn changes_weights(&self) -> Value {
        in_header(RUN, &self.as_used())
    }

    /// Refuses to resume a run that was begun with the settings `saved` (its [`as_used`](Self::as_used)) when
    /// one differs that must not; the error names each with both values.
    pub fn refuse_change_on_resume(&self, saved: &Value) -> Result<()> {
        let before = Self::from_json(saved, "the checkpoint's settings", None, &[])?;
        resume::refuse_change(RUN, &before.as_used(), &self.as_used())
    }
}

/// What a source and overrides give, and where it comes from.
struct GivenRun {
    origin: Origin,
    values: Map<String, Value>,
    ignored: Vec<(String, String)>,
}

fn revision(values: &Map<String, Value>) -> Option<&str> {
    values.get("revision").and_then(Value::as_str)
}

/// Lets the model be one in the Hugging Face cache: by its id, or by its flavour where nothing else names it.
fn model_from_hub(given: &mut Given) -> Result<()> {
    let flavour = given.values.get("model_flavour").and_then(Value::as_str);
    let of_flavour = hub::FLAVOURS.iter().find(|(name, _)| Some(*name) == flavour).map(|(_, id)| *id);
    if let (false, Some(id)) = (given.values.contains_key(MODEL), of_flavour) {
        read::overrides(given, &[(MODEL.to_owned(), id.to_owned())], RUN)?;
    }
    let Some(index) = given.missing.iter().position(|missing| missing.key == MODEL) else { return Ok(()) };
    let id = &given.missing[index].written;
    let found = hub::is_id(id).then(|| hub::find(id, revision(&given.values))).flatten();
    if let Some(snapshot) = found {
        given.values.insert(MODEL.to_owned(), places::path_value(MODEL, snapshot)?);
        given.missing.remove(index);
    }
    Ok(())
}

/// The values of `used` whose rows belong in the LoRA's header.
pub(super) fn in_header(table: &'static [Section], used: &Value) -> Value {
    let value = |key: &Key| Some((key.name.to_owned(), used.get(key.name)?.clone()));
    let rows = Section::all(table).filter(|key| key.effect.in_header());
    rows.filter_map(value).filter(|(_, value)| !value.is_null()).collect::<Map<_, _>>().into()
}

/// The settings of a training run from the bytes of a settings file, reading no other file.
///
/// # Errors
/// Those of [`RunSettings::load`]; no bytes make it panic.
pub fn parse_settings_bytes(bytes: &[u8]) -> Result<RunSettings> {
    let json = read::json_bytes(bytes).map_err(|cause| Error::new(ErrorKind::Settings, "settings", cause))?;
    let settings = RunSettings::from_json(&json, "settings", None, &[])?;
    settle::needed_to_train(&settings)?;
    Ok(settings)
}
