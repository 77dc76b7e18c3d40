//! What the settings mean together: shorthands, contradictions, and what must not be missing.

use super::captions;
use super::choices::{LoraType, LrScheduler};
use super::keys::{Key, RUN, Section};
use super::kind::shown;
use super::nearest::nearest;
use super::read;
use super::run::RunSettings;
use crate::error::{Error, Result};
use serde_json::{Map, Value};
use std::path::Path;

/// Replaces shorthands in the values that were given by the settings for which they stand.
///
/// # Errors
/// A shorthand that contradicts another setting.
pub fn shorthands(given: &mut Map<String, Value>) -> Result<()> {
    gradient_checkpointing(given)?;
    weighting_scheme(given)?;
    if given.remove("flow_use_uniform_schedule") == Some(true.into()) {
        stand_for(given, "flow_use_uniform_schedule", "sigma_density", "uniform".into())?;
    }
    optimizer_config(given)?;
    captions::multiline_split(given)?;
    auto_shift(given)
}

/// Lets `shorthand` set `key` to `value`, unless `key` was given another one.
pub(super) fn stand_for(
    given: &mut Map<String, Value>,
    shorthand: &str,
    key: &str,
    value: Value,
) -> Result<()> {
    match given.get(key) {
        Some(other) if *other != value => {
            let cause = format!("stands for `{key}` {}, but `{key}` is {}", shown(&value), shown(other));
            Err(Error::setting(shorthand, cause).hint(format!("remove `{shorthand}` or `{key}`")))
        }
        _ => {
            given.insert(key.to_owned(), value);
            Ok(())
        }
    }
}

/// An explicit policy refines the switch when it agrees with it on whether to recompute at all.
fn gradient_checkpointing(given: &mut Map<String, Value>) -> Result<()> {
    let Some(on) = given.remove("gradient_checkpointing").and_then(|v| v.as_bool()) else { return Ok(()) };
    let agrees = match given.get("recompute").and_then(Value::as_str) {
        None => false,
        Some("auto") => true,
        Some("store") => !on,
        Some(_) => on,
    };
    if agrees {
        return Ok(());
    }
    stand_for(given, "gradient_checkpointing", "recompute", if on { "lean" } else { "store" }.into())
}

fn weighting_scheme(given: &mut Map<String, Value>) -> Result<()> {
    let Some(Value::String(scheme)) = given.remove("weighting_scheme") else { return Ok(()) };
    let (density, weighting) = match scheme.as_str() {
        density @ ("logit_normal" | "mode") => (density, "none"),
        weighting => ("uniform", weighting),
    };
    stand_for(given, "weighting_scheme", "sigma_density", density.into())?;
    stand_for(given, "weighting_scheme", "loss_weighting", weighting.into())
}

/// The names inside `optimizer_config`, and the settings that they are.
const OPTIMIZER_CONFIG: &[(&str, &str)] = &[
    ("beta1", "adam_beta1"),
    ("beta2", "adam_beta2"),
    ("eps", "adam_epsilon"),
    ("epsilon", "adam_epsilon"),
    ("weight_decay", "adam_weight_decay"),
];

fn optimizer_config(given: &mut Map<String, Value>) -> Result<()> {
    let Some(Value::Object(pairs)) = given.remove("optimizer_config") else { return Ok(()) };
    for (name, written) in &pairs {
        let known = OPTIMIZER_CONFIG.iter().find(|(known, _)| known == name);
        let key = known.and_then(|(_, key)| Section::find(RUN, key)).ok_or_else(|| {
            let near = nearest(name, OPTIMIZER_CONFIG.iter().map(|(known, _)| *known)).unwrap_or_default();
            Error::setting("optimizer_config", format!("{} is unknown", shown(&name.as_str().into())))
                .hint(format!("the nearest known one is `{near}`"))
        })?;
        stand_for(given, "optimizer_config", key.name, read::value(key, written)?)?;
    }
    Ok(())
}

/// A model called Turbo draws in four steps without guidance, unless the settings say otherwise: that is what it was
/// distilled to do.
pub fn turbo(given: &mut Map<String, Value>) {
    let model = given.get("pretrained_model_name_or_path").and_then(Value::as_str).unwrap_or_default();
    let name = Path::new(model).file_name().unwrap_or_default();
    if name.to_string_lossy().to_lowercase().contains("turbo") {
        given.entry("validation_num_inference_steps").or_insert(4.into());
        given.entry("validation_guidance").or_insert(1.0.into());
    }
}

/// The automatic shift replaces the fixed one.
fn auto_shift(given: &mut Map<String, Value>) -> Result<()> {
    if given.get("flow_schedule_auto_shift") != Some(&true.into()) {
        return Ok(());
    }
    let fixed = given.get("flow_schedule_shift").and_then(Value::as_f64).unwrap_or(0.0);
    if fixed != 0.0 && fixed != 1.0 {
        let cause = format!("on, while `flow_schedule_shift` is {fixed}");
        return Err(Error::setting("flow_schedule_auto_shift", cause).hint("set flow_schedule_shift to 0"));
    }
    given.insert("flow_schedule_shift".into(), 1.0.into());
    Ok(())
}

/// Values that mean another one take that one's form.
pub fn meanings(values: &mut Map<String, Value>) {
    if values.get("flow_schedule_shift").and_then(Value::as_f64) == Some(0.0) {
        values.insert("flow_schedule_shift".into(), 1.0.into());
    }
    let warms_up = values.get("lr_warmup_steps").and_then(Value::as_u64) > Some(0);
    if warms_up && values.get("lr_scheduler") == Some(&LrScheduler::Constant.name().into()) {
        values.insert("lr_scheduler".into(), LrScheduler::ConstantWithWarmup.name().into());
    }
}

/// The settings without which nothing can be done.
pub fn needed_always(given: &Map<String, Value>) -> Result<()> {
    need("pretrained_model_name_or_path", given.contains_key("pretrained_model_name_or_path"))
}

/// The settings without which nothing can be trained.
pub fn needed_to_train(settings: &RunSettings) -> Result<()> {
    need("data_backend_config", !settings.data_backend_config.as_os_str().is_empty())?;
    need("output_dir", !settings.output_dir.as_os_str().is_empty())?;
    match (settings.max_train_steps, settings.num_train_epochs) {
        (0, 0) => Err(Error::setting("max_train_steps", "neither it nor `num_train_epochs` is given")
            .hint("say how long to train, by one of the two")),
        (0, _) | (_, 0) => Ok(()),
        (steps, epochs) => {
            let cause = format!("{steps} steps, while `num_train_epochs` is {epochs}");
            Err(Error::setting("max_train_steps", cause).hint("set one of the two to 0"))
        }
    }
}

fn need(name: &str, is_given: bool) -> Result<()> {
    let doc = Section::find(RUN, name).map_or("", |key: &Key| key.doc);
    if is_given { Ok(()) } else { Err(Error::setting(name, "it is required and not set").hint(doc)) }
}

/// Settings that each are fine, but not together.
pub fn contradictions(settings: &RunSettings) -> Result<()> {
    use LrScheduler::{CosineWave, Polynomial, Sine};
    let scheduler = settings.lr_scheduler;
    if matches!(scheduler, CosineWave | Sine) && settings.lr_warmup_steps == 0 {
        let cause = format!("0, while `lr_scheduler` is `{scheduler}`");
        return Err(Error::setting("lr_warmup_steps", cause)
            .hint("it is the half period of the wave; set it above 0"));
    }
    let (low, high) = (settings.lr_end, settings.learning_rate);
    if matches!(scheduler, CosineWave | Sine | Polynomial) && low > high {
        let cause = format!("{low} is above the learning rate {high}");
        return Err(Error::setting("lr_end", cause).hint("it is the lowest learning rate"));
    }
    skip_layers(settings)?;
    adapter(settings)?;
    if settings.overwrite && settings.resume_from_checkpoint.is_some() {
        return Err(Error::setting("overwrite", "begins afresh, while `resume_from_checkpoint` is set")
            .hint("set one of the two"));
    }
    Ok(())
}

/// Skip-layer guidance works on top of classifier-free guidance, between two limits.
fn skip_layers(settings: &RunSettings) -> Result<()> {
    if settings.validation_guidance_skip_layers.is_empty() {
        return Ok(());
    }
    if settings.validation_guidance <= 1.0 {
        let cause = format!("set, while `validation_guidance` is {}", settings.validation_guidance);
        return Err(Error::setting("validation_guidance_skip_layers", cause)
            .hint("set validation_guidance above 1, or leave the layers out"));
    }
    let (start, stop) =
        (settings.validation_guidance_skip_layers_start, settings.validation_guidance_skip_layers_stop);
    if start >= stop {
        let cause = format!("{start} is not below `validation_guidance_skip_layers_stop` {stop}");
        return Err(
            Error::setting("validation_guidance_skip_layers_start", cause).hint("it begins before it ends")
        );
    }
    Ok(())
}

/// What the settings of the adapter say against each other.
fn adapter(settings: &RunSettings) -> Result<()> {
    let lycoris = settings.lora_type == LoraType::Lycoris;
    if lycoris && settings.lycoris_config.is_none() {
        return Err(Error::setting("lycoris_config", "it is not set, while `lora_type` is `lycoris`").hint(
            "give it a file or an object, such as {\"algo\": \"lokr\", \"linear_dim\": 16, \"factor\": 16}",
        ));
    }
    if lycoris && settings.use_dora {
        return Err(Error::setting("use_dora", "on, while `lora_type` is `lycoris`")
            .hint("set weight_decompose in lycoris_config instead"));
    }
    Ok(())
}
