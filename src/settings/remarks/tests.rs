//! What is said about settings, case by case.

use super::words::{counted, grouped};
use super::*;
use crate::settings::run::RunSettings;
use serde_json::json;
use std::path::Path;

/// The remarks on a file with `entries` beside what every run needs, and one data set of `repeats`.
fn of(entries: Value, repeats: u32, total_steps: u64) -> Vec<Remark> {
    let mut all = json!({"pretrained_model_name_or_path": "m", "data_backend_config": "d", "output_dir": "o",
        "max_train_steps": total_steps});
    all.as_object_mut().unwrap().extend(entries.as_object().unwrap().clone());
    let settings = RunSettings::from_json(&all, "settings", None, &[]).unwrap();
    let sets = json!([{"id": "mine", "instance_data_dir": "p", "repeats": repeats}]);
    let data = DataBackends::from_json(&sets, &settings, Some(Path::new("."))).unwrap();
    remarks(&settings, &data, total_steps)
}

fn about<'a>(remarks: &'a [Remark], name: &str) -> &'a str {
    remarks.iter().find(|remark| remark.about == name).map_or("", |remark| remark.text.as_str())
}

fn says(remarks: &[Remark], name: &str, parts: &[&str]) {
    let text = about(remarks, name);
    parts.iter().for_each(|part| assert!(text.contains(part), "`{part}` is not in `{text}`"));
}

/// The tutorial's settings.
fn tutorial() -> Value {
    json!({"--model_family": "sd3", "--model_type": "lora", "--learning_rate": "1.5e-3", "--lr_scheduler": "cosine",
        "--lr_warmup_steps": "2400", "--lr_end": "4e-7", "--max_grad_norm": "2.0", "--lora_dropout": "0.1",
        "--tokenizer_max_length": "256"})
}

#[test]
fn the_tutorials_cosine_is_a_wave_of_five_swings() {
    let said = of(tutorial(), 5, 24_000);
    says(
        &said,
        "lr_scheduler",
        &["one descent", "lr_warmup_steps=2,400", "five swings in 24,000 steps", "ending at 1.5e-3"],
    );
    says(&said, "repeats", &["5 repeats = 6 passes over `mine`", "5 in kohya", "repeats 4"]);
    says(&said, "max_grad_norm", &["norm 2", "0.01", "1.1.4 to 1.2.1"]);
    says(&said, "tokenizer_max_length", &["256 tokens", "77 in SimpleTuner 1.1.4", "154"]);
    says(&said, "lora_dropout", &["0.1"]);
    says(&said, "caption_dropout_probability", &["not set, so 0"]);
    says(&said, "loss", &["velocity", "sigma²"]);
}

#[test]
fn under_compat_it_is_said_what_is_done() {
    let mut settings = tutorial();
    settings["compat"] = json!("simpletuner=1.1.4");
    let said = of(settings, 0, 24_000);
    says(&said, "compat", &["SimpleTuner 1.1.4"]);
    says(&said, "lr_scheduler", &["`cosine` is a wave", "five swings", "ending at 1.5e-3"]);
    says(&said, "max_grad_norm", &["though 2 is set", "0.01"]);
    says(&said, "tokenizer_max_length", &["T5 reads 77 tokens"]);
    says(&said, "lora_dropout", &["so it is 0"]);
    assert_eq!(about(&said, "repeats"), "");
}

#[test]
fn defaults_of_compat_are_named() {
    let said = of(json!({"compat": "simpletuner=1.2"}), 0, 1000);
    says(&said, "learning_rate", &["4e-7", "next to nothing"]);
    says(&said, "lr_scheduler", &["`sine`", "1.2.0"]);
    says(&said, "max_grad_norm", &["0.01", "whatever is set"]);
    let new = of(json!({"compat": "simpletuner"}), 0, 1000);
    says(&new, "grad_clip_method", &["clamped to 2"]);
}

#[test]
fn a_file_of_this_program_gets_few_remarks() {
    assert_eq!(of(json!({}), 0, 100), []);
    let said =
        of(json!({"lr_scheduler": "cosine", "lr_warmup_steps": 10, "lora_rank": 8, "lora_alpha": 4}), 1, 100);
    says(&said, "lr_scheduler", &["warm-up of 10 steps", "five swings"]);
    says(&said, "lora_alpha", &["scaled by 0.5"]);
    says(&said, "repeats", &["1 repeats = 2 passes", "1 in kohya", "repeats 0"]);
    assert_eq!(said.len(), 3);
    let long = of(json!({"lr_scheduler": "cosine", "lr_warmup_steps": 500}), 0, 100);
    says(&long, "lr_warmup_steps", &["longer than the run"]);
}

#[test]
fn waves_that_end_anywhere_have_a_fraction() {
    let said = of(
        json!({"lr_scheduler": "sine", "lr_warmup_steps": 400, "learning_rate": 1e-3, "lr_end": 0}),
        0,
        1000,
    );
    says(&said, "lr_scheduler", &["1.2 swings", "ending at 1e-3"]);
}

#[test]
fn what_is_not_given_is_compared_with_the_default_there() {
    let said = of(json!({"model_family": "sd3"}), 0, 10);
    says(&said, "learning_rate", &["1e-4", "4e-7"]);
    says(&said, "flow_schedule_shift", &["shifted by 3"]);
    let shift = of(json!({"model_family": "sd3", "flow_schedule_auto_shift": true}), 0, 10);
    says(&shift, "flow_schedule_auto_shift", &["wins over it"]);
}

#[test]
fn numbers_read_well() {
    assert_eq!(
        (grouped(24_000), grouped(999), grouped(1_234_567)),
        ("24,000".into(), "999".into(), "1,234,567".into())
    );
    assert_eq!((rate(1.5e-3), rate(4e-7), rate(0.0)), ("1.5e-3".into(), "4e-7".into(), "0e0".into()));
    assert_eq!((counted(1, "swing"), counted(20, "swing")), ("one swing".into(), "20 swings".into()));
}
