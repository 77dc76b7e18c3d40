//! The room as a whole: files in, settings or a clear refusal out.

use super::backends::BACKEND;
use super::keys::{Effect, RUN, Section};
use super::*;
use crate::error::{Error, ErrorKind, Result};
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use std::path::Path;

/// What every training run needs, with `more` on top.
fn complete(more: Value) -> Value {
    let mut all = json!({"pretrained_model_name_or_path": "m", "data_backend_config": "d.json", "output_dir": "o",
        "max_train_steps": 10});
    let (Value::Object(all_keys), Value::Object(more)) = (&mut all, more) else { panic!("objects") };
    all_keys.extend(more);
    all
}

fn parse(json: &Value) -> Result<RunSettings> {
    parse_settings_bytes(json.to_string().as_bytes())
}

fn with(more: Value) -> RunSettings {
    parse(&complete(more)).unwrap()
}

/// The message of the refusal of `more`.
fn refusal(more: Value) -> String {
    let error = parse(&complete(more.clone())).expect_err(&more.to_string());
    assert_eq!(error.kind, ErrorKind::Settings);
    assert!(!error.cause.contains('\n'));
    error.to_string()
}

fn set(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect()
}

fn write(folder: &Path, name: &str, json: &Value) -> std::path::PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, json.to_string()).unwrap();
    path
}

const SETTINGS_MD: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/SETTINGS.md");

#[test]
fn settings_md_is_what_the_table_says() {
    let written = std::fs::read_to_string(SETTINGS_MD).unwrap();
    if written != document() {
        let wanted = std::env::temp_dir().join("SETTINGS.md");
        std::fs::write(&wanted, document()).unwrap();
        panic!("SETTINGS.md does not say what the table says; {} does", wanted.display());
    }
}

#[test]
fn help_names_every_key() {
    let help = help();
    assert!(Section::all(RUN).all(|key| help.contains(key.name)));
}

#[test]
fn the_struct_has_the_rows_of_the_table_in_its_order() {
    let used = with(json!({})).as_used();
    let fields: Vec<_> = used.as_object().unwrap().keys().map(String::as_str).collect();
    let rows: Vec<_> =
        Section::all(RUN).filter(|key| key.effect != Effect::Reading).map(|key| key.name).collect();
    assert_eq!(fields, rows);
}

#[test]
fn defaults_refer_to_rows_above_them() {
    for (index, key) in Section::all(RUN).enumerate() {
        let Some(reference) = key.default.strip_prefix('=') else { continue };
        let (name, _) = reference.split_once('/').unwrap_or((reference, ""));
        assert!(Section::all(RUN).take(index).any(|above| above.name == name), "{}", key.name);
    }
}

#[test]
fn no_name_is_known_twice() {
    for table in [RUN, BACKEND] {
        let mut seen = BTreeSet::new();
        let own = Section::all(table).flat_map(|key| std::iter::once(&key.name).chain(key.synonyms)).copied();
        for name in own.chain(foreign::names()) {
            assert!(seen.insert(name), "{name}");
        }
    }
}

#[test]
fn the_defaults_are_the_documented_ones() {
    let s = with(json!({}));
    assert_eq!((s.lora_rank, s.lora_alpha, s.lora_dropout), (16, 16.0, 0.0));
    assert_eq!(s.lora_targets, LoraTargets::Preset(LoraPreset::Simpletuner));
    assert_eq!((s.train_batch_size, s.gradient_accumulation_steps, s.seed), (4, 1, 42));
    assert_eq!(
        (s.learning_rate, s.lr_scheduler, s.lr_warmup_steps),
        (1e-4, LrScheduler::ConstantWithWarmup, 0)
    );
    assert_eq!((s.adam_beta1, s.adam_beta2, s.adam_epsilon, s.adam_weight_decay), (0.9, 0.999, 1e-8, 1e-2));
    assert_eq!((s.max_grad_norm, s.caption_dropout_probability, s.flow_schedule_shift), (1.0, 0.0, 3.0));
    assert_eq!((s.sigma_density, s.loss_weighting), (SigmaDensity::LogitNormal, LossWeighting::None));
    assert_eq!((s.tokenizer_max_length, s.resolution, s.recompute), (256, 1024, Recompute::Auto));
    assert_eq!(s.validation_resolution, [Size { width: 1024, height: 1024 }]);
    assert_eq!((s.validation_num_inference_steps, s.validation_negative_prompt.as_str()), (28, ""));
    assert_eq!((s.checkpointing_steps, s.checkpoints_total_limit, s.checkpoints_state_limit), (500, 5, 2));
    assert_eq!((s.save_dtype, s.device), (SaveDtype::Bf16, DeviceChoice::Auto));
    assert!(s.cache_dir_vae.ends_with("o/cache") && s.cache_dir_text == s.cache_dir_vae);
}

#[test]
fn an_unmodified_simpletuner_file_is_read() {
    let s = parse(&json!({
        "--model_type": "lora", "--model_family": "sd3", "--lora_type": "standard", "--use_dora": "false",
        "--lycoris_config": "config/lycoris_config.json",
        "--pretrained_model_name_or_path": "stabilityai/stable-diffusion-3.5-large",
        "--data_backend_config": "config/multidatabackend.json", "--output_dir": "output/models",
        "--lora_rank": "768", "--train_batch_size": "6", "--max_train_steps": "24000", "--num_train_epochs": 0,
        "--learning_rate": "1.5e-3", "--lr_scheduler": "cosine", "--lr_warmup_steps": "2400",
        "--gradient_checkpointing": "true", "--validation_resolution": "1024x1024,1280x768",
        "--validation_prompt_library": false, "--validation_steps": 200, "--checkpointing_steps": 400,
        "--resume_from_checkpoint": "latest", "--push_to_hub": "false", "--report_to": "none",
        "--mixed_precision": "bf16", "--snr_gamma": 5, "--validation_negative_prompt": "blurry, cropped, ugly",
        "--flux_schedule_shift": 3, "--hub_model_id": null, "--instance_prompt": ""
    }))
    .unwrap();
    assert_eq!((s.lora_rank, s.lora_alpha, s.train_batch_size), (768, 768.0, 6));
    assert_eq!(
        (s.learning_rate, s.lr_scheduler, s.recompute),
        (1.5e-3, LrScheduler::Cosine, Recompute::Lean)
    );
    assert_eq!((s.lora_type, s.use_dora, &s.lycoris_config), (LoraType::Standard, false, &None));
    assert_eq!((s.validation_resolution.len(), s.user_prompt_library, s.instance_prompt), (2, None, None));
    let ignored: Vec<_> = s.ignored.iter().map(|(key, _)| key.as_str()).collect();
    assert!(ignored.contains(&"push_to_hub") && ignored.contains(&"snr_gamma"), "{ignored:?}");
}

#[test]
fn an_unknown_key_names_the_nearest_known_one() {
    assert!(refusal(json!({"lora_rnak": 4})).contains("`lora_rank`"));
    assert!(refusal(json!({"--learning-rate": 4})).contains("`learning_rate`"));
    let error = RunSettings::for_sampling(Path::new("m"), &set(&[("sed", "1")])).unwrap_err();
    assert!(error.to_string().contains("`seed`"), "{error}");
}

#[test]
fn wrong_values_name_their_key() {
    for (key, value) in [
        ("lora_rank", json!(0)),
        ("lora_rank", json!(1.5)),
        ("learning_rate", json!("fast")),
        ("learning_rate", json!(-1)),
        ("lr_scheduler", json!("cosin")),
        ("optimizer", json!("adamw_4bit")),
        ("caption_dropout_probability", json!(1.1)),
        ("use_ema", json!(3)),
        ("resolution", json!(1000)),
        ("resolution", json!(32)),
        ("validation_resolution", json!("1000x1024")),
        ("tokenizer_max_length", json!(513)),
        ("output_dir", json!(["a"])),
        ("data_backend_config", json!(true)),
        ("seed", json!(-1)),
        ("validation_prompt", json!({})),
        ("validation_prompt", json!("{env:SARGENT_NO_SUCH_VARIABLE}")),
    ] {
        let message = refusal(json!({key: value}));
        assert!(message.contains(&format!("`{key}`")), "{message}");
    }
}

#[test]
fn what_would_change_the_result_is_refused() {
    for (key, value) in [
        ("peft_lora_mode", json!("singlora")),
        ("rank_pattern", json!({"to_q": 0})),
        ("lora_blocks", json!("3-1")),
        ("lora_type", json!("lokr")),
        ("base_model_precision", json!("int8-quanto")),
        ("model_type", json!("full")),
        ("model_family", json!("sdxl")),
        ("train_text_encoder", json!("true")),
        ("flow_matching_loss", json!("diffusers")),
    ] {
        assert!(refusal(json!({key: value})).contains(&format!("`{key}`")));
    }
}

#[test]
fn contradictions_are_refused() {
    for more in [
        json!({"num_train_epochs": 3}),
        json!({"max_train_steps": 0}),
        json!({"gradient_checkpointing": true, "recompute": "store"}),
        json!({"gradient_checkpointing": false, "recompute": "full"}),
        json!({"weighting_scheme": "mode", "sigma_density": "uniform"}),
        json!({"flow_use_uniform_schedule": true, "weighting_scheme": "logit_normal"}),
        json!({"flow_schedule_auto_shift": true, "flow_schedule_shift": 3}),
        json!({"optimizer_config": "beta2=0.99", "adam_beta2": 0.95}),
        json!({"optimizer_config": "beta3=0.99"}),
        json!({"lr_scheduler": "cosine_wave"}),
        json!({"lr_scheduler": "polynomial", "lr_end": 1e-3}),
        json!({"overwrite": true, "resume_from_checkpoint": "latest"}),
        json!({"lora_rank": 8, "--lora_rank": 8}),
        json!({"checkpointing_steps": 8, "checkpoint_step_interval": 8}),
    ] {
        refusal(more);
    }
}

#[test]
fn what_is_required_is_named() {
    for key in ["pretrained_model_name_or_path", "data_backend_config", "output_dir"] {
        assert!(refusal(json!({key: null})).contains(key));
    }
}

#[test]
fn shorthands_set_what_they_stand_for() {
    let scheme = |scheme: &str| {
        let s = with(json!({"weighting_scheme": scheme}));
        (s.sigma_density, s.loss_weighting)
    };
    assert_eq!(scheme("logit_normal"), (SigmaDensity::LogitNormal, LossWeighting::None));
    assert_eq!(scheme("mode"), (SigmaDensity::Mode, LossWeighting::None));
    assert_eq!(scheme("none"), (SigmaDensity::Uniform, LossWeighting::None));
    assert_eq!(scheme("sigma_sqrt"), (SigmaDensity::Uniform, LossWeighting::SigmaSqrt));
    assert_eq!(scheme("cosmap"), (SigmaDensity::Uniform, LossWeighting::Cosmap));
    assert_eq!(with(json!({"flow_use_uniform_schedule": true})).sigma_density, SigmaDensity::Uniform);
    assert_eq!(with(json!({"gradient_checkpointing": false})).recompute, Recompute::Store);
    assert_eq!(with(json!({"gradient_checkpointing": true, "recompute": "full"})).recompute, Recompute::Full);
    let adam = with(json!({"optimizer_config": "beta1=0.8, eps=1e-6,weight_decay=0"}));
    assert_eq!((adam.adam_beta1, adam.adam_epsilon, adam.adam_weight_decay), (0.8, 1e-6, 0.0));
    assert_eq!(with(json!({"flow_schedule_shift": 0})).flow_schedule_shift, 1.0);
    assert_eq!(with(json!({"flow_schedule_auto_shift": true})).flow_schedule_shift, 1.0);
    for (name, optimizer) in [
        ("adamw", OptimizerKind::AdamW),
        ("adam_bfloat16", OptimizerKind::AdamWBf16),
        ("bnb-adamw8bit", OptimizerKind::AdamW8bit),
    ] {
        assert_eq!(with(json!({"optimizer": name})).optimizer, optimizer);
    }
    let warm = with(json!({"lr_scheduler": "constant", "lr_warmup_steps": 5}));
    assert_eq!(warm.lr_scheduler, LrScheduler::ConstantWithWarmup);
}

#[test]
fn a_model_called_turbo_draws_in_four_steps_without_guidance() {
    let drawing = |more: Value| {
        let settings = with(more);
        (settings.validation_num_inference_steps, settings.validation_guidance)
    };
    let turbo = "models/stable-diffusion-3.5-large-Turbo";
    assert_eq!(drawing(json!({"pretrained_model_name_or_path": turbo})), (4, 1.0));
    let own = json!({"pretrained_model_name_or_path": turbo, "validation_guidance": 2, "validation_num_inference_steps": 8});
    assert_eq!(drawing(own), (8, 2.0));
    assert_eq!(drawing(json!({"pretrained_model_name_or_path": "turbo/sd3.5_large.safetensors"})), (28, 4.5));
}

#[test]
fn skip_layer_guidance_needs_guidance_and_an_order_of_its_limits() {
    let layers = json!("[7, 8, 9]");
    assert_eq!(
        with(json!({"validation_guidance_skip_layers": layers})).validation_guidance_skip_layers,
        [7, 8, 9]
    );
    let without = json!({"validation_guidance_skip_layers": layers, "validation_guidance": 1});
    assert!(refusal(without).contains("validation_guidance"));
    let turned =
        json!({"validation_guidance_skip_layers": layers, "validation_guidance_skip_layers_start": 0.5});
    assert!(refusal(turned).contains("_stop"));
}

#[test]
fn overrides_win_and_an_empty_one_takes_back() {
    let folder = tempfile::tempdir().unwrap();
    let config = write(folder.path(), "config.json", &complete(json!({"lora_rank": 4, "seed": 7})));
    let overrides = set(&[("--lora_rank", "8"), ("seed", ""), ("lora_rank", "9"), ("report_to", "none")]);
    let s = RunSettings::load(&config, &overrides).unwrap();
    assert_eq!((s.lora_rank, s.lora_alpha, s.seed, s.ignored.len()), (9, 9.0, 42, 1));
    let error = RunSettings::load(&config, &set(&[("num_train_epochs", "2")])).unwrap_err();
    assert!(error.to_string().contains("num_train_epochs"));
}

#[test]
fn environment_variables_are_filled_in() {
    let manifest = std::env::var("CARGO_MANIFEST_DIR").unwrap();
    let s =
        with(json!({"validation_prompt": "a {env:CARGO_MANIFEST_DIR} b {env:", "lora_targets": ["to_q"]}));
    assert_eq!(s.validation_prompt, Some(format!("a {manifest} b {{env:")));
}

#[test]
fn what_is_read_is_found_beside_the_settings_file() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("model-beside-it")).unwrap();
    let more =
        json!({"model_path": "model-beside-it/", "pretrained_model_name_or_path": "", "output_dir": "out/"});
    let config = write(folder.path(), "config.json", &complete(more));
    let s = RunSettings::load(&config, &[]).unwrap();
    assert_eq!(s.pretrained_model_name_or_path, folder.path().join("model-beside-it"));
    assert_eq!(s.output_dir, std::env::current_dir().unwrap().join("out"));
    assert_eq!(s.data_backend_config, std::env::current_dir().unwrap().join("d.json"));
}

#[test]
fn settings_as_used_load_back_to_the_same() {
    for more in [
        json!({}),
        json!({"flow_schedule_auto_shift": true, "weighting_scheme": "cosmap", "gradient_checkpointing": true}),
        json!({"lora_targets": "to_q,to_k", "validation_resolution": "64x128,256", "learning_rate": "3.3e-5"}),
        json!({"validation_prompt": "a \"b\"", "lr_scheduler": "sine", "lr_warmup_steps": 3, "seed": i64::MAX}),
    ] {
        let settings = with(more);
        assert_eq!(parse(&settings.as_used()).unwrap().as_used(), settings.as_used());
    }
}

#[test]
fn the_header_has_only_what_changes_the_weights() {
    let weights = with(json!({"lora_rank": 8})).changes_weights();
    let names: Vec<_> = weights.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(weights["lora_rank"], json!(8));
    for name in ["learning_rate", "seed", "max_train_steps", "flow_schedule_shift", "train_batch_size"] {
        assert!(names.contains(&name), "{name}");
    }
    for part in ["path", "dir", "validation", "checkpoint", "resume", "device", "recompute", "config"] {
        assert!(!names.iter().any(|name| name.contains(part)), "{part}");
    }
}

#[test]
fn a_resumed_run_may_change_only_what_is_free() {
    let saved = with(json!({"learning_rate": "0.0011"})).as_used();
    let resume = |more: Value| {
        let mut all = json!({"learning_rate": 0.0011});
        all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        with(all).refuse_change_on_resume(&saved)
    };
    resume(json!({"max_train_steps": 99, "validation_prompt": "x", "checkpointing_steps": 1, "recompute": "full",
        "resume_from_checkpoint": "latest", "validation_resolution": 512, "device": "cpu", "modulation_steps": 1}))
    .unwrap();
    resume(json!({"max_train_steps": 0, "num_train_epochs": 3})).unwrap();
    let error = resume(json!({"lora_rank": 8, "seed": 1})).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Settings);
    for part in
        ["`lora_rank` was 16 and is now 8".replacen("` ", "`: ", 1).as_str(), "`seed` was 42 and is now 1"]
    {
        assert!(error.to_string().contains(part), "{error}");
    }
    resume(json!({"pretrained_model_name_or_path": "other"})).unwrap_err();
    with(json!({})).refuse_change_on_resume(&json!([])).unwrap_err();
}

#[test]
fn sampling_needs_a_model_only() {
    let s = RunSettings::for_sampling(Path::new("m"), &set(&[("tokenizer_max_length", "77")])).unwrap();
    assert_eq!((s.tokenizer_max_length, s.output_dir.as_os_str().len()), (77, 0));
    assert!(s.pretrained_model_name_or_path.is_absolute());
    RunSettings::for_sampling(Path::new("m"), &set(&[("model_path", "")])).unwrap_err();
}

#[test]
fn prompts_come_from_the_library_and_the_settings() {
    let folder = tempfile::tempdir().unwrap();
    let load = |library: Value, prompt: &str| {
        write(folder.path(), "prompts.json", &library);
        let more = json!({"user_prompt_library": "prompts.json", "validation_prompt": prompt});
        RunSettings::load(&write(folder.path(), "config.json", &complete(more)), &[])
    };
    let prompts = load(json!({"cat": "a cat", "dog": "a dog"}), "a bird").unwrap().validation_prompts;
    let names: Vec<_> = prompts.iter().map(|p| (p.name.as_str(), p.text.as_str())).collect();
    assert_eq!(names, [("cat", "a cat"), ("dog", "a dog"), ("validation", "a bird")]);
    assert_eq!(load(json!(["x", "y"]), "").unwrap().validation_prompts[1].name, "prompt_2");
    for wrong in [json!(3), json!({"a/b": "x"}), json!({"": "x"}), json!([1]), json!({"validation": "x"})] {
        load(wrong, "a bird").unwrap_err();
    }
    std::fs::remove_file(folder.path().join("prompts.json")).unwrap();
    let error = RunSettings::load(&folder.path().join("config.json"), &[]).unwrap_err();
    assert!(error.to_string().contains("prompts.json"), "{error}");
}

#[test]
fn lycoris_config_may_be_a_file_beside_the_settings() {
    let folder = tempfile::tempdir().unwrap();
    let description = json!({"algo": "lokr", "linear_dim": 10000, "factor": 16});
    write(folder.path(), "lycoris.json", &description);
    let load = |more: Value| RunSettings::load(&write(folder.path(), "config.json", &complete(more)), &[]);
    let s =
        load(json!({"lora_type": "lycoris", "lycoris_config": "lycoris.json", "lora_dropout": 0.1})).unwrap();
    assert_eq!(s.lycoris_config, Some(description), "the settings as used need no other file");
    assert_eq!(s.lycoris().unwrap().unwrap().overall.factor, 16);
    assert_eq!(s.ignored[0].0, "lora_dropout");
    assert!(s.refuse_change_on_resume(&s.as_used()).is_ok());
    let error = load(json!({"lora_type": "lycoris", "lycoris_config": "none.json"})).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Files);
    // Where adapters are pairs, SimpleTuner's default path may lead nowhere.
    assert_eq!(load(json!({"lycoris_config": "none.json"})).unwrap().lycoris_config, None);
}

#[test]
fn files_that_are_no_settings_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    for (text, says) in
        [("{\n\"a\" 1}", "line 2"), ("[]", "object"), ("", "JSON"), ("\u{feff}{}", "required")]
    {
        let path = folder.path().join("config.json");
        std::fs::write(&path, text).unwrap();
        let error = RunSettings::load(&path, &[]).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
    assert_eq!(RunSettings::load(&folder.path().join("none"), &[]).unwrap_err().kind, ErrorKind::Files);
    RunSettings::load(folder.path(), &[]).unwrap_err();
}

fn backends(json: Value) -> Result<DataBackends> {
    DataBackends::from_json(&json, &with(json!({"resolution": 512})), None)
}

#[test]
fn data_sets_take_what_they_lack_from_the_run() {
    let read = backends(json!([
        {"id": "a", "type": "local", "instance_data_root": "pics", "crop": "false", "repeats": "5",
         "resolution_type": "pixel_area", "hash_filenames": true, "cache_dir_vae": "cache/a", "probability": 1.0},
        {"id": "b", "instance_data_dir": "more", "resolution": 256, "crop": true, "crop_style": "centre",
         "instance_prompt": "in style", "caption_strategy": "textfile", "only_instance_prompt": true},
        {"id": "off", "disabled": true},
        {"id": "text", "dataset_type": "text_embeds", "default": true, "cache_dir": "cache/text"},
    ]))
    .unwrap();
    let [a, b] = read.images.as_slice() else { panic!("two sets") };
    assert_eq!((a.resolution, a.passes(), a.caption_strategy), (512, 6, CaptionStrategy::Textfile));
    assert!(!a.crop && b.crop && b.crop_aspect == CropAspect::Square && b.crop_style == CropStyle::Center);
    assert_eq!((b.resolution, b.passes(), b.caption_strategy), (256, 1, CaptionStrategy::InstancePrompt));
    assert!(a.cache_dir_vae.ends_with("cache/a") && b.cache_dir_vae.ends_with("o/cache"));
    assert!(read.cache_dir_text.ends_with("cache/text"));
    assert_eq!(read.ignored.len(), 1);
    assert_eq!(backends(read.as_used()).unwrap().images, read.images);
    let own = |id: &str| json!({"id": id, "instance_data_dir": "p", "cache_dir_vae": format!("cache/{id}")});
    let ignored = backends(json!([own("a"), own("b")])).unwrap().ignored;
    assert!(
        matches!(&ignored[..], [(key, why)] if key == "cache_dir_vae" && why.contains("\"b\"")),
        "{ignored:?}"
    );
}

#[test]
fn wrong_data_sets_are_refused_by_name() {
    let set = |more: Value| {
        let mut set = json!({"id": "a", "instance_data_dir": "p"});
        set.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!([set])
    };
    for (list, says) in [
        (json!({}), "list"),
        (json!([]), "no entry"),
        (json!([3]), "object"),
        (json!([{"instance_data_dir": "p"}]), "`id`"),
        (json!([{"id": "a"}]), "`instance_data_dir`"),
        (json!([{"id": "a", "instance_data_dir": "p"}, {"id": "a", "instance_data_dir": "q"}]), "twice"),
        (set(json!({"disabled": true})), "no entry"),
        (set(json!({"repaets": 3})), "`repeats`"),
        (set(json!({"repeats": -3})), "`repeats`"),
        (set(json!({"type": "aws"})), "`type`"),
        (set(json!({"dataset_type": "conditioning"})), "`dataset_type`"),
        (set(json!({"conditioning_type": "mask"})), "`conditioning_type`"),
        (set(json!({"resolution": 1000})), "`resolution`"),
        (set(json!({"caption_strategy": "instanceprompt"})), "`instance_prompt`"),
        (set(json!({"prepend_instance_prompt": true})), "`instance_prompt`"),
    ] {
        let error = backends(list).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Settings);
        assert!(error.to_string().contains(says), "{error}");
    }
}

/// The blocks of SimpleTuner's documentation on data loaders, with their keys and values.
#[test]
fn a_caption_table_is_read_from_its_block() {
    let set = |more: Value| {
        let mut set = json!({"id": "a", "instance_data_dir": "p", "type": "local"});
        set.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        backends(json!([set])).map(|read| read.images[0].clone())
    };
    let read = set(json!({"caption_strategy": "parquet", "metadata_backend": "parquet", "parquet": {
        "path": "photos.parquet", "filename_column": "id", "caption_column": "cogvlm_caption",
        "fallback_caption_column": "tags", "width_column": "width", "height_column": "height",
        "identifier_includes_extension": "false"}}))
    .unwrap();
    let table = read.parquet.clone().unwrap();
    assert!(table.path.unwrap().is_absolute());
    assert_eq!(
        (table.filename_column.unwrap(), table.caption_column),
        ("id".into(), vec!["cogvlm_caption".into()])
    );
    assert_eq!(table.fallback_caption_column.unwrap(), "tags");
    let used = serde_json::to_value([&read]).unwrap();
    assert_eq!(backends(used).unwrap().images[0], read);

    let read =
        set(json!({"caption_strategy": "csv", "csv_file": "t.csv", "csv_caption_column": "words"})).unwrap();
    let table = read.parquet.unwrap();
    assert!(table.path.unwrap().ends_with("t.csv") && table.caption_column == ["words"]);
    let read = set(json!({"caption_strategy": "kohya", "metadata_file": "meta_cap.json"})).unwrap();
    assert_eq!(read.caption_strategy, CaptionStrategy::Metadata);
    assert!(read.parquet.unwrap().path.unwrap().ends_with("meta_cap.json"));
    let read = set(json!({"parquet": {"path": "t", "caption_column": ["a", "b"]}})).unwrap();
    assert_eq!(read.parquet.unwrap().caption_column, ["a", "b"]);

    for (wrong, says) in [
        (json!({"caption_strategy": "parquet"}), "names no table"),
        (json!({"parquet": {"paht": "t"}}), "`path`"),
        (json!({"parquet": {"path": 3}}), "`parquet.path`"),
        (json!({"parquet": "t.parquet"}), "JSON object"),
        (json!({"csv_file": "a.csv", "parquet": {"path": "b.csv"}}), "csv_file"),
    ] {
        let error = set(wrong.clone()).expect_err(&wrong.to_string()).to_string();
        assert!(error.contains(says), "{error}");
    }
}

#[test]
fn the_run_names_columns_for_blocks_that_do_not() {
    let run = with(
        json!({"resolution": 512, "parquet_filename_column": "file", "parquet_caption_column": "words"}),
    );
    let list = json!([
        {"id": "a", "instance_data_dir": "p", "parquet": {"path": "t", "caption_column": "own"}}]);
    let table = DataBackends::from_json(&list, &run, None).unwrap().images.swap_remove(0).parquet.unwrap();
    assert_eq!((table.filename_column.unwrap(), table.caption_column), ("file".into(), vec!["own".into()]));
}

#[test]
fn a_filter_is_a_list_or_a_file_and_may_stand_with_the_text_embeds() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("f.txt"), "arafed \n\ns/a/b/\n").unwrap();
    write(folder.path(), "f.json", &json!(["one", "two"]));
    write(folder.path(), "object.json", &json!({}));
    let filters = |list: Value| {
        let read = DataBackends::from_json(&list, &with(json!({"resolution": 512})), Some(folder.path()))?;
        Ok(read.images.into_iter().map(|set| set.caption_filter_list).collect::<Vec<_>>())
    };
    let read: Result<Vec<_>> = filters(json!([
        {"id": "a", "instance_data_dir": "p"},
        {"id": "b", "instance_data_dir": "p", "text_embeds": "other"},
        {"id": "c", "instance_data_dir": "p", "caption_filter_list": ["own"]},
        {"id": "other", "dataset_type": "text_embeds", "caption_filter_list": "f.json"},
        {"id": "text", "dataset_type": "text_embeds", "default": true, "caption_filter_list": "f.txt"},
    ]));
    assert_eq!(read.unwrap(), [vec!["arafed ", "s/a/b/"], vec!["one", "two"], vec!["own"]]);
    for (filter, says) in
        [("none.txt", "none.txt"), ("f.csv", ".txt or .json"), ("object.json", "JSON list of texts")]
    {
        let list = json!([{"id": "a", "instance_data_dir": "p", "caption_filter_list": filter}]);
        let error: Error = filters(list).unwrap_err();
        assert!(error.to_string().contains(says) && !error.hint.is_empty(), "{error}");
    }
    let error =
        filters(json!([{"id": "a", "instance_data_dir": "p", "text_embeds": "nowhere"}])).unwrap_err();
    assert!(error.place.contains("`text_embeds`"), "{error}");
}

#[test]
fn pictures_elsewhere_are_refused_with_what_to_do() {
    for (kind, says) in
        [("csv", "caption_strategy `csv`"), ("huggingface", "hf download"), ("aws", "aws s3 sync")]
    {
        let set = |more: Value| {
            let mut set = json!({"id": "a", "type": kind, "csv_file": "x.csv", "dataset_name": "x"});
            set.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            set
        };
        let error = backends(json!([set(json!({}))])).unwrap_err();
        assert!(error.place.contains("`type`") && error.hint.contains(says), "{error}");
        let pictures = json!({"id": "b", "instance_data_dir": "p"});
        assert_eq!(backends(json!([set(json!({"disabled": "true"})), pictures])).unwrap().images.len(), 1);
    }
}

#[test]
fn lines_of_a_caption_are_what_either_key_says() {
    let lines = |run: Value, set: Value| {
        let mut entry = json!({"id": "a", "instance_data_dir": "p"});
        entry.as_object_mut().unwrap().extend(set.as_object().unwrap().clone());
        DataBackends::from_json(&json!([entry]), &with(run), None).map(|read| read.images[0].caption_lines)
    };
    assert_eq!(lines(json!({}), json!({})).unwrap(), CaptionLines::Variants);
    assert_eq!(lines(json!({}), json!({"disable_multiline_split": true})).unwrap(), CaptionLines::Whole);
    assert_eq!(lines(json!({"disable_multiline_split": "true"}), json!({})).unwrap(), CaptionLines::Whole);
    assert_eq!(
        lines(json!({"caption_lines": "first"}), json!({"disable_multiline_split": false})).unwrap(),
        CaptionLines::First
    );
    lines(json!({}), json!({"disable_multiline_split": true, "caption_lines": "first"})).unwrap_err();
}

#[test]
fn a_resumed_run_keeps_its_data_sets() {
    let list = |repeats: u32, cache: &str| {
        backends(json!([{"id": "a", "instance_data_dir": "p", "repeats": repeats, "cache_dir_vae": cache}]))
            .unwrap()
    };
    let saved = list(1, "x").as_used();
    list(1, "y").refuse_change_on_resume(&saved).unwrap();
    let error = list(2, "x").refuse_change_on_resume(&saved).unwrap_err().to_string();
    assert!(error.contains("`repeats`") && error.contains("\"a\""), "{error}");
    list(1, "x").refuse_change_on_resume(&json!([])).unwrap_err();
    assert_eq!(list(1, "x").changes_weights()[0]["repeats"], json!(1));
    assert_eq!(list(1, "x").changes_weights()[0].get("instance_data_dir"), None);
}

#[test]
fn the_list_of_data_sets_is_read_from_its_file() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("pictures-beside-it")).unwrap();
    write(folder.path(), "sets.json", &json!([{"id": "a", "instance_data_dir": "pictures-beside-it"}]));
    let config = write(folder.path(), "config.json", &complete(json!({"data_backend_config": "sets.json"})));
    let settings = RunSettings::load(&config, &[]).unwrap();
    let read = settings.data_backends().unwrap();
    assert_eq!(read.images[0].instance_data_dir, folder.path().join("pictures-beside-it"));
    write(folder.path(), "sets.json", &json!([{"id": "a"}]));
    assert!(settings.data_backends().unwrap_err().to_string().contains("sets.json"));
    std::fs::remove_file(folder.path().join("sets.json")).unwrap();
    assert_eq!(settings.data_backends().unwrap_err().kind, ErrorKind::Files);
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        "[-0-9ex.,= \\[\\]{}:env]{0,12}".prop_map(Value::from),
        prop::sample::select(vec![
            "latest",
            "auto",
            "mode",
            "1e3",
            "64x64",
            "{env:a=b}",
            "{env:}",
            "\0",
            "×"
        ])
        .prop_map(Value::from),
    ];
    leaf.prop_recursive(2, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((any::<String>(), inner), 0..4)
                .prop_map(|pairs| Value::Object(pairs.into_iter().collect())),
        ]
    })
}

fn any_settings(table: &'static [Section]) -> impl Strategy<Value = Map<String, Value>> {
    let own = Section::all(table).flat_map(|key| std::iter::once(&key.name).chain(key.synonyms)).copied();
    let names: Vec<_> = own.chain(foreign::names()).collect();
    let name = prop_oneof![20 => prop::sample::select(names).prop_map(str::to_owned), 1 => any::<String>()];
    prop::collection::vec((name, any_json()), 0..4).prop_map(|pairs| pairs.into_iter().collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn no_value_of_any_key_panics(more in any_settings(RUN)) {
        if let Ok(settings) = parse(&complete(Value::Object(more))) {
            let back = parse(&settings.as_used()).unwrap();
            prop_assert!(settings.refuse_change_on_resume(&back.as_used()).is_ok());
        }
    }

    #[test]
    fn no_data_set_panics(sets in prop::collection::vec(any_settings(BACKEND), 0..3)) {
        let _ = backends(Value::from(sets.into_iter().map(Value::Object).collect::<Vec<_>>()));
    }

    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        let _ = parse_settings_bytes(&bytes);
    }
}
