//! The same settings in every form.

use super::*;
use crate::settings::{LrScheduler, RunSettings};
use serde_json::json;

/// A file of each form that says the same.
const FORMS: [(&str, &str); 4] = [
    (
        "config.json",
        r#"{"--model_family": "sd3", "model_type": "lora", "--pretrained_model_name_or_path": "model",
            "data_backend_config": "sets.json", "--output_dir": "out", "--max_train_steps": "24000",
            "--num_train_epochs": 0, "lora_rank": "16", "--learning_rate": "1.5e-3", "--lr_scheduler": "cosine",
            "--lr_warmup_steps": 2400, "--use_ema": "false", "--gradient_checkpointing": "true",
            "--validation_prompt": "a red star", "--hub_model_id": null, "--validation_steps": false}"#,
    ),
    (
        "config.toml",
        "model_family = 'sd3'\nmodel_type = 'lora'\npretrained_model_name_or_path = 'model'\n\
         data_backend_config = 'sets.json'\noutput_dir = 'out'\nmax_train_steps = 24000\nlora_rank = 16\n\
         '--learning_rate' = 1.5e-3\nlr_scheduler = 'cosine'\nlr_warmup_steps = '2400'\nuse_ema = false\n\
         gradient_checkpointing = true\nvalidation_prompt = 'a red star'\n",
    ),
    (
        "config.env",
        "export MODEL_FAMILY=sd3\nexport MODEL_TYPE='lora'\nMODEL_NAME=\"model\"\nDATALOADER_CONFIG=sets.json\n\
         OUTPUT_DIR=out\nMAX_NUM_STEPS=24000\nNUM_EPOCHS=0\nLEARNING_RATE=1.5e-3 # as in the tutorial\n\
         LR_SCHEDULE=cosine\nLR_WARMUP_STEPS=2400\nUSE_EMA=false\nUSE_GRADIENT_CHECKPOINTING=true\n\
         VALIDATION_PROMPT=\"a red star\"\nTRAINER_EXTRA_ARGS=\"--lora_rank=16\"\n",
    ),
    (
        "config.toml.example",
        "model_family = 'sd3'\npretrained_model_name_or_path = 'model'\ndata_backend_config = 'sets.json'\n\
         output_dir = 'out'\nmax_num_steps = 24000\nrank = 16\nlearning_rate = 1.5e-3\nlr_scheduler = 'cosine'\n\
         lr_warmup_steps = 2400\ngradient_checkpointing = true\nvalidation_prompt = 'a red star'\n",
    ),
];

#[test]
fn every_form_says_the_same() {
    let mut read = Vec::new();
    for (name, text) in FORMS {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(name), text).unwrap();
        let path =
            if name.ends_with("example") { folder.path().join(name) } else { folder.path().to_owned() };
        let settings = RunSettings::load(&path, &[]).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(settings.origin.dialect, Dialect::SimpleTuner, "{name}");
        read.push(settings.as_used());
    }
    assert_eq!(read[0]["lr_scheduler"], json!(LrScheduler::Cosine.name()));
    assert_eq!((&read[0]["lora_rank"], &read[0]["learning_rate"]), (&json!(16), &json!(1.5e-3)));
    assert!(read.iter().all(|settings| *settings == read[0]), "{read:#?}");
}

#[test]
fn a_dialect_is_known_by_its_keys() {
    let of = |json: Value| Source::of_json(Path::new("f"), &json).unwrap().dialect;
    assert_eq!(of(json!({"lora_rank": 4, "data_backend_config": "d"})), Dialect::Sargent);
    assert_eq!(of(json!({"network_dim": 4, "data_backend_config": "d"})), Dialect::Sargent);
    assert_eq!(of(json!({"--lora_rank": 4})), Dialect::SimpleTuner);
    assert_eq!(of(json!({"model_family": "sd3"})), Dialect::SimpleTuner);
    assert_eq!(of(json!({"network_module": "networks.lora_sd3"})), Dialect::Kohya);
    let grouped =
        Source::of_json(Path::new("f"), &json!({"network": {"network_dim": 8}, "seed": 1})).unwrap();
    assert_eq!((grouped.dialect, &grouped.entries["network_dim"]), (Dialect::Kohya, &json!(8)));
}

#[test]
fn lists_of_data_sets_are_no_settings() {
    for (json, hint) in [(json!([]), "data_backend_config"), (json!({"datasets": []}), "dataset_config")] {
        assert!(Source::of_json(Path::new("f"), &json).unwrap_err().hint.contains(hint));
    }
}

#[test]
fn paths_are_tried_in_every_place_and_named_when_there_is_nothing() {
    let root = tempfile::tempdir().unwrap();
    let config = root.path().join("config/mine");
    std::fs::create_dir_all(&config).unwrap();
    std::fs::create_dir_all(root.path().join("models/sd35")).unwrap();
    std::fs::write(root.path().join("config/sets.json"), "[]").unwrap();
    let text = json!({"pretrained_model_name_or_path": "models/sd35", "data_backend_config": "config/sets.json",
        "output_dir": "o", "max_train_steps": 1, "vae_path": "vae-nowhere"});
    std::fs::write(config.join("config.json"), text.to_string()).unwrap();
    let settings = RunSettings::load(&config, &[]).unwrap();
    assert_eq!(settings.pretrained_model_name_or_path, root.path().join("models/sd35"));
    assert_eq!(settings.data_backend_config, root.path().join("config/sets.json"));
    let error = settings.refuse_missing(|_| true).unwrap_err();
    let here = std::env::current_dir().unwrap().join("vae-nowhere");
    for place in [here, config.join("vae-nowhere"), root.path().join("vae-nowhere")] {
        assert!(error.cause.contains(&place.display().to_string()), "{error}");
    }
    let given = [("vae_path".to_owned(), String::new())];
    RunSettings::load(&config, &given).unwrap().refuse_missing(|_| true).unwrap();
}

#[test]
fn a_model_that_is_nowhere_is_to_be_fetched() {
    let settings = |more: Value| {
        let mut all = json!({"data_backend_config": "d", "output_dir": "o", "max_train_steps": 1});
        all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        RunSettings::from_json(&all, "f", None, &[]).unwrap()
    };
    let missing = |more: Value| settings(more).refuse_missing(|key| key.contains("pretrained")).unwrap_err();
    let id = "sargent-tests/no-such-model";
    let error = missing(json!({"pretrained_model_name_or_path": id, "revision": "v2"}));
    for part in [id, "Hugging Face cache", "hf download sargent-tests/no-such-model --revision v2"] {
        assert!(error.to_string().contains(part), "{error}");
    }
    let local = missing(json!({"pretrained_model_name_or_path": "./nowhere"}));
    assert!(!local.to_string().contains("hf download"), "{local}");
}

#[test]
fn what_simpletuner_resolves_by_itself_is_no_mistake() {
    let load = |more: Value| {
        let mut all = json!({"model_family": "sd3", "pretrained_model_name_or_path": "m", "output_dir": "o",
            "data_backend_config": "d", "max_train_steps": 1});
        all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        RunSettings::from_json(&all, "f", None, &[]).unwrap()
    };
    let s = load(json!({"flow_schedule_shift": 3, "flow_schedule_auto_shift": true, "--seed": "-1",
        "validation_guidance": 1.0, "validation_guidance_skip_layers": [7, 8, 9], "minimum_image_size": 256}));
    assert_eq!((s.flow_schedule_shift, s.flow_schedule_auto_shift, s.seed), (3.0, false, 42));
    assert!(s.validation_guidance_skip_layers.is_empty());
    assert_eq!(s.origin.of_data_sets["minimum_image_size"], 256);
    for key in ["flow_schedule_auto_shift", "validation_guidance_skip_layers", "--seed"] {
        assert!(s.ignored.iter().any(|(name, _)| name == key), "{key}");
    }
    assert_eq!(load(json!({"crepa_lambda": 1, "wan_force_2_1": true})).ignored.len(), 2);
}
