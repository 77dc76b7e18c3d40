//! Setups that other trainers publish, as they are but for the model and the pictures.

use super::workshop::{Ended, files, model, pictures, sargent};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A project's folder: `config/` with the files of one setup, `model` and `pictures`.
struct Project(tempfile::TempDir);

impl Project {
    fn new(setup: &str) -> Self {
        let project = Self(tempfile::tempdir().unwrap());
        let of_setup = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/settings").join(setup);
        copy(&of_setup, &project.path("config"), usize::MAX);
        copy(&pictures(), &project.path("pictures"), 12);
        std::os::unix::fs::symlink(model(), project.path("model")).unwrap();
        project.shrink();
        project
    }

    /// Lets data sets have pictures of a size that the miniature can draw.
    fn shrink(&self) {
        for (path, content) in files(&self.path("config")) {
            let text = String::from_utf8(content).unwrap();
            let small =
                text.replace("\"resolution\": 1024", "\"resolution\": 64").replace("[512, 512]", "64");
            std::fs::write(path, small).unwrap();
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// `sargent COMMAND config` in the project's folder, with settings changed.
    fn command(&self, command: &str, config: &str, set: &[&str]) -> Command {
        let mut program = sargent();
        program.current_dir(self.0.path()).arg(command).arg(config);
        program.args(set.iter().flat_map(|setting| ["--set", setting]));
        program
    }

    fn plan(&self, set: &[&str], more: &[&str]) -> Value {
        let set = [&["validation_resolution=64"], set].concat();
        let ended = Ended::of(self.command("plan", "config", &set).arg("--json").args(more)).succeeded();
        serde_json::from_str(&ended.stdout).unwrap()
    }
}

fn copy(from: &Path, to: &Path, most: usize) {
    std::fs::create_dir(to).unwrap();
    for (path, content) in files(from).into_iter().take(most) {
        std::fs::write(to.join(path.file_name().unwrap()), content).unwrap();
    }
}

/// What makes a run of any setup short.
const SHORT: [&str; 9] = [
    "max_train_steps=2",
    "num_train_epochs=0",
    "resolution=64",
    "lora_rank=4",
    "train_batch_size=2",
    "tokenizer_max_length=77",
    "validation_resolution=64",
    "validation_num_inference_steps=2",
    "lr_warmup_steps=2",
];

fn remark<'a>(plan: &'a Value, about: &str) -> &'a str {
    let remarks = plan["remarks"].as_array().unwrap();
    let of = remarks.iter().find(|remark| remark["about"] == about);
    of.map_or("", |remark| remark["text"].as_str().unwrap())
}

#[test]
fn published_setups_are_planned_as_they_are() {
    for (setup, steps) in
        [("example", 100), ("wizard", 10_000), ("environment", 1000), ("table", 1000), ("tutorial", 24_000)]
    {
        let project = Project::new(setup);
        let plan = project.plan(&[], &[]);
        assert_eq!(plan["total_steps"], steps, "{setup}");
        assert!(!remark(&plan, "max_grad_norm").is_empty(), "{setup}");
        assert!(
            !project.path("output").exists() && !project.path("cache").exists(),
            "planning writes nothing"
        );
    }
    // 6 pictures, 10 passes, batches of 2, 10 epochs.
    assert_eq!(Project::new("kohya").plan(&[], &[])["total_steps"], 300);
}

#[test]
fn published_setups_are_trained() {
    for setup in ["example", "environment", "tutorial", "kohya"] {
        let project = Project::new(setup);
        Ended::of(&mut project.command("train", "config", &SHORT)).succeeded();
        let found = files(&project.path("output"));
        assert!(found.keys().any(|path| path.ends_with("pytorch_lora_weights.safetensors")), "{setup}");
        assert!(found.keys().any(|path| path.ends_with("settings.json")), "{setup}");
    }
}

#[test]
fn the_tutorials_surprises_are_said_and_compat_does_them() {
    let project = Project::new("tutorial");
    let plan = project.plan(&[], &[]);
    assert!(remark(&plan, "lr_scheduler").contains("five swings in 24,000 steps"));
    assert!(remark(&plan, "repeats").contains("6 passes"));
    let there = project.plan(&[], &["--compat", "simpletuner=1.1.4"]);
    assert!(remark(&there, "max_grad_norm").contains("0.01"));
    assert!(remark(&there, "tokenizer_max_length").contains("77 tokens"));
    let text = Ended::of(&mut project.command("plan", "config/config.json", &["validation_resolution=64"]))
        .succeeded()
        .stdout;
    assert!(text.contains("remarks") && text.lines().all(|line| line.chars().count() <= 100), "{text}");
    let refused = Ended::of(project.command("plan", "config", &[]).args(["--compat", "onetrainer"]));
    refused.refused(&["`compat`", "simpletuner=1.1.4"]);
}

#[test]
fn an_output_folder_repeats_its_run() {
    let project = Project::new("tutorial");
    let compat = ["--compat", "simpletuner=1.2"];
    Ended::of(project.command("train", "config", &SHORT).args(compat)).succeeded();
    let output = project.path("output/models");
    // Nothing of the first setup is left.
    std::fs::remove_dir_all(project.path("config")).unwrap();
    let again = format!("output_dir={}", project.path("again").display());
    Ended::of(&mut project.command("train", "output/models/settings.json", &[&again])).succeeded();
    let lora = |folder: &Path| std::fs::read(folder.join("pytorch_lora_weights.safetensors")).unwrap();
    assert!(lora(&output) == lora(&project.path("again")), "the two runs differ");
    let drawn = files(&project.path("again/validation"));
    for name in ["bench", "cat", "validation"] {
        assert!(
            drawn.keys().any(|path| path.file_name().unwrap().to_str().unwrap().starts_with(name)),
            "{name}"
        );
    }
    let more = ["max_train_steps=3", "resume_from_checkpoint=latest"];
    Ended::of(&mut project.command("train", "output/models/settings.json", &more)).succeeded();
    assert!(output.join("checkpoint-3").exists());
}

#[test]
fn what_would_delete_is_refused() {
    let project = Project::new("tutorial");
    let sets = project.path("config/sets.json");
    let text = std::fs::read_to_string(&sets).unwrap();
    std::fs::write(&sets, text.replace("\"crop\": false", "\"delete_unwanted_images\": true")).unwrap();
    let plan = Ended::of(&mut project.command("plan", "config", &[]));
    plan.refused(&["`delete_unwanted_images`", "nothing is ever deleted"]);
    let run = Ended::of(&mut project.command("plan", "config", &["delete_problematic_images=true"]));
    run.refused(&["`delete_problematic_images`"]);
}

/// SD3.5 Large by its flavour alone.
const FLAVOUR: [&str; 3] =
    ["validation_resolution=64", "pretrained_model_name_or_path=", "model_flavour=large"];

#[test]
fn a_model_comes_from_the_local_cache_of_the_hub() {
    let project = Project::new("tutorial");
    let cached = project.path("hub/models--stabilityai--stable-diffusion-3.5-large");
    std::fs::create_dir_all(cached.join("snapshots")).unwrap();
    std::fs::create_dir_all(cached.join("refs")).unwrap();
    std::fs::write(cached.join("refs/main"), "abc123").unwrap();
    std::os::unix::fs::symlink(model(), cached.join("snapshots/abc123")).unwrap();
    let id = "pretrained_model_name_or_path=stabilityai/stable-diffusion-3.5-large";
    let mut found = project.command("plan", "config", &["validation_resolution=64", id]);
    Ended::of(found.env("HF_HUB_CACHE", project.path("hub"))).succeeded();
    let mut flavour = project.command("plan", "config", &FLAVOUR);
    Ended::of(flavour.env("HF_HUB_CACHE", project.path("hub"))).succeeded();
    let mut lacking = project.command("plan", "config", &["validation_resolution=64", id]);
    let lacking = Ended::of(lacking.env_remove("HF_HUB_CACHE").env("HF_HOME", project.path("empty")));
    lacking.refused(&["hf download stabilityai/stable-diffusion-3.5-large", "licence", "empty/hub", "tried"]);
    let mut revision = project.command("plan", "config", &[id, "revision=v9"]);
    Ended::of(revision.env("HF_HUB_CACHE", project.path("hub"))).refused(&["revision v9"]);
}
