//! The command line as a user meets it: exit codes, help, and errors in words.

#![allow(clippy::unwrap_used)]

use sargent::device::{self, Choice};
use std::path::Path;
use std::process::{Command, Output, Stdio};

fn sargent(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_sargent")).args(arguments).output().expect("the program starts")
}

/// Runs a command line that is wrong; what it prints to stderr.
fn refused(arguments: &[&str]) -> String {
    let output = sargent(arguments);
    let stderr = String::from_utf8(output.stderr).expect("text");
    assert_eq!(output.status.code(), Some(2), "{arguments:?}: {stderr}");
    assert!(stderr.contains("sargent: error: "), "{arguments:?}: {stderr}");
    assert!(output.stdout.is_empty(), "{arguments:?}");
    stderr
}

fn shown(arguments: &[&str]) -> String {
    let output = sargent(arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    assert!(output.stderr.is_empty(), "{arguments:?}");
    String::from_utf8(output.stdout).expect("text")
}

/// A run's settings in `folder`, valid as far as a settings file alone can be.
fn write_run(folder: &Path) -> String {
    let output = folder.join("output").display().to_string();
    let run = r#"{ "pretrained_model_name_or_path": "model", "data_backend_config": "data.json",
        "output_dir": "OUTPUT", "max_train_steps": 1 }"#;
    std::fs::create_dir_all(folder.join("pictures")).expect("a new folder");
    for (name, text) in [
        ("run.json", run.replace("OUTPUT", &output)),
        ("data.json", r#"[{ "id": "a", "instance_data_dir": "pictures" }]"#.to_owned()),
    ] {
        std::fs::write(folder.join(name), text).expect("a new file");
    }
    folder.join("run.json").display().to_string()
}

#[test]
fn help_names_every_command_and_every_setting() {
    let help = shown(&["--help"]);
    for part in
        ["demo", "train", "sample", "plan", "prepare", "licenses", "--device", "Examples:", "Exit codes:"]
    {
        assert!(help.contains(part), "{part} is missing in\n{help}");
    }
    let help = shown(&["train", "--help"]);
    for part in ["--set <KEY=VALUE>", "lora_rank", "resume_from_checkpoint", "instance_data_dir"] {
        assert!(help.contains(part), "{part} is missing in\n{help}");
    }
    for command in ["demo", "sample", "plan", "prepare"] {
        assert!(shown(&[command, "--help"]).contains("Examples:"), "{command}");
    }
}

#[test]
fn licences_of_what_is_embedded_are_shown() {
    let notices = shown(&["licenses"]);
    assert!(notices.contains("SeetaFace") && notices.contains("Redistribution"), "{notices}");
}

#[test]
fn the_version_is_the_packages() {
    assert_eq!(shown(&["-V"]), format!("sargent {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn no_command_shows_the_help_as_a_mistake() {
    let output = sargent(&[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("Usage: sargent"));
}

#[test]
fn wrong_usage_is_refused_before_anything_happens() {
    for (arguments, part) in [
        (&["paint"][..], "'paint'"),
        (&["train"], "<CONFIG>"),
        (&["train", "run.json", "--color"], "--color"),
        (&["train", "run.json", "--set", "lora_rank"], "lora_rank=32"),
        (&["demo", "--steps", "0"], "--steps"),
        (&["plan", "run.json", "--device", "gpu"], "there is no device `gpu`"),
        (&["sample", "--model", "m", "--out", "a.png"], "--prompt"),
        (&["sample", "--model", "m", "--prompt", "a", "--out", "a.jpg"], "PNG"),
        (&["sample", "--model", "m", "--prompt", "a", "--out", "a.png", "--steps", "0"], "--steps"),
        (
            &["sample", "--model", "m", "--prompt", "a", "--out", "a.png", "--lora", "no.safetensors"],
            "no.safe",
        ),
    ] {
        let stderr = refused(arguments);
        assert!(stderr.contains(part), "{arguments:?} should say {part}: {stderr}");
    }
}

#[test]
fn a_missing_or_broken_settings_file_is_named() {
    assert!(refused(&["train", "/no/such/run.json"]).contains("/no/such/run.json: no such file"));
    let root = tempfile::tempdir().unwrap();
    let run = root.path().join("run.json");
    std::fs::write(&run, "{ \"seed\": 1,, }").unwrap();
    let stderr = refused(&["plan", run.to_str().unwrap()]);
    assert!(stderr.contains("not valid JSON") && stderr.contains("line 1"), "{stderr}");
}

#[test]
fn an_unknown_setting_names_the_nearest_one() {
    let root = tempfile::tempdir().unwrap();
    let run = write_run(root.path());
    for command in ["train", "plan"] {
        let stderr = refused(&[command, &run, "--set", "lora_rnk=8"]);
        assert!(stderr.contains("lora_rnk") && stderr.contains("`lora_rank`"), "{stderr}");
        assert!(stderr.contains("hint: "), "{stderr}");
    }
    let stderr = refused(&["train", &run, "--set", "lora_rank=many"]);
    assert!(stderr.contains("`lora_rank`") && stderr.contains("many"), "{stderr}");
}

#[test]
fn settings_without_effect_are_listed() {
    let root = tempfile::tempdir().unwrap();
    let run = write_run(root.path());
    let stderr = refused(&["train", &run, "--set", "report_to=wandb"]);
    assert!(stderr.contains("ignored: setting `report_to`: metrics.jsonl"), "{stderr}");
}

#[test]
fn cuda_is_refused_in_words_where_there_is_none() {
    let Err(reason) = device::choose(Choice::Cuda { memory: None }) else { return };
    let root = tempfile::tempdir().unwrap();
    let run = write_run(root.path());
    let demo = root.path().join("demo");
    let by_settings = ["train", &run, "--set", "device=cuda"];
    let by_option = ["train", &run, "--device", "cuda"];
    let before_the_command = ["--device", "cuda", "demo", "--out", demo.to_str().unwrap()];
    for arguments in [&by_settings[..], &by_option, &before_the_command] {
        let stderr = refused(arguments);
        assert!(stderr.contains(&reason.cause) && stderr.contains("--device cpu"), "{stderr}");
    }
    assert!(!demo.exists() && !root.path().join("output").exists());
}

#[test]
fn the_demo_does_not_touch_a_folder_with_other_things() {
    let root = tempfile::tempdir().unwrap();
    std::fs::write(root.path().join("thesis.tex"), "x").unwrap();
    let stderr = refused(&["demo", "--out", root.path().to_str().unwrap()]);
    assert!(stderr.contains("other things"), "{stderr}");
    assert_eq!(std::fs::read_dir(root.path()).unwrap().count(), 1);
}

#[test]
fn a_reader_that_has_left_is_no_error() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_sargent"))
        .args(["train", "--help"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(output.stderr.is_empty());
}
