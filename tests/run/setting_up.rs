//! What `init` writes, and whether it then plans and trains.

use super::planning::workshop_with;
use super::workshop::{Ended, Workshop, files, model, sargent};
use sargent::models::mmdit::MmditConfig;
use serde_json::Value;
use std::path::Path;
use std::process::Command;

/// Settings under which the miniature trains in a second.
const QUICK: [&str; 3] =
    ["validation_num_inference_steps=2", "tokenizer_max_length=77", "validation_strengths=1"];

fn init(workshop: &Workshop, arguments: &[&str]) -> Command {
    let mut command = sargent();
    command.arg("init").arg(workshop.path("run")).arg("--model").arg(model());
    command.arg("--images").arg(workshop.path("pictures")).args(arguments);
    command
}

fn written(workshop: &Workshop, name: &str) -> Value {
    serde_json::from_slice(&std::fs::read(workshop.path("run").join(name)).unwrap()).unwrap()
}

fn of_setup(command: &str, workshop: &Workshop) -> Command {
    let mut program = sargent();
    program.arg(command).arg(workshop.path("run/config.json"));
    program
}

#[test]
fn a_setup_plans_and_trains_as_it_was_written() {
    let workshop = Workshop::with_pictures(8);
    let quick = QUICK.iter().flat_map(|setting| ["--set", setting]).collect::<Vec<_>>();
    let said = Ended::of(init(&workshop, &["--steps", "4", "--vram", "8GiB"]).args(quick)).succeeded().stdout;
    for key in ["resolution 128", "train_batch_size", "lora_rank 16", "max_train_steps 4", "next"] {
        assert!(said.contains(key), "{key} is missing in\n{said}");
    }
    assert!(said.lines().all(|line| line.chars().count() <= 80 || line.contains("sargent ")), "{said}");
    let prompts = written(&workshop, "prompts.json");
    assert!((2..=4).contains(&prompts.as_object().unwrap().len()));
    let plan = Ended::of(of_setup("plan", &workshop).arg("--json")).succeeded().stdout;
    let plan: Value = serde_json::from_str(&plan).unwrap();
    assert_eq!(plan["total_steps"], 4);
    Ended::of(&mut of_setup("train", &workshop)).succeeded();
    assert!(workshop.path("run/output/pytorch_lora_weights.safetensors").exists());
}

#[test]
fn nothing_is_overwritten_unless_asked_for() {
    let workshop = Workshop::new();
    std::fs::create_dir(workshop.path("run")).unwrap();
    std::fs::write(workshop.path("run/multidatabackend.json"), "mine").unwrap();
    Ended::of(&mut init(&workshop, &[])).refused(&["multidatabackend.json", "--force"]);
    assert_eq!(files(&workshop.path("run")).values().collect::<Vec<_>>(), [b"mine"]);
    Ended::of(&mut init(&workshop, &["--force"])).succeeded();
    assert!(written(&workshop, "multidatabackend.json").is_array());
}

#[test]
fn settings_that_are_given_win_and_wrong_ones_write_nothing() {
    let workshop = Workshop::new();
    Ended::of(&mut init(&workshop, &["--set", "rank=8", "--set", "lora_rnak=8"])).refused(&["lora_rnak"]);
    Ended::of(&mut init(&workshop, &["--set", "resolution=100000"])).refused(&["resolution"]);
    assert!(!workshop.path("run").exists());
    Ended::of(&mut init(&workshop, &["--set", "rank=8", "--set", "num_train_epochs=2"])).succeeded();
    let config = written(&workshop, "config.json");
    assert_eq!((&config["lora_rank"], &config["num_train_epochs"]), (&8.into(), &2.into()));
    assert!(config.get("max_train_steps").is_none());
    Ended::of(&mut of_setup("plan", &workshop)).succeeded();
}

#[test]
fn captions_are_found_or_asked_for() {
    let workshop = Workshop::new();
    let caption = |keep: bool| {
        for path in files(&workshop.path("pictures")).keys().filter(|path| path.extension().unwrap() == "txt")
        {
            if !keep || path.to_str().unwrap().contains("03_") {
                std::fs::remove_file(path).unwrap();
            }
        }
    };
    Ended::of(&mut init(&workshop, &["--trigger", "k4s4"])).succeeded();
    assert_eq!(written(&workshop, "multidatabackend.json")[0]["caption_strategy"], "textfile");
    caption(true);
    Ended::of(&mut init(&workshop, &["--force"])).refused(&["03_brown_star.png", "no caption"]);
    caption(false);
    Ended::of(&mut init(&workshop, &["--force"])).refused(&["no picture has a caption", "--trigger"]);
    Ended::of(&mut init(&workshop, &["--force", "--trigger", "k4s4 style"])).succeeded();
    assert_eq!(written(&workshop, "multidatabackend.json")[0]["instance_prompt"], "k4s4 style");
    Ended::of(&mut of_setup("plan", &workshop)).succeeded();
}

#[test]
fn wrong_folders_models_and_cards_are_refused_in_words() {
    let workshop = Workshop::new();
    let wrong = |arguments: &[&str], parts: &[&str]| {
        let mut command = sargent();
        Ended::of(command.arg("init").arg(workshop.path("run")).args(arguments)).refused(parts);
        assert!(!workshop.path("run").exists());
    };
    let pictures = workshop.path("pictures").display().to_string();
    let model = model().display().to_string();
    wrong(&["--model", &model], &["no pictures", "--images"]);
    wrong(&["--model", &model, "--images", "nowhere"], &["nowhere"]);
    wrong(&["--model", "nowhere", "--images", &pictures], &["nowhere"]);
    wrong(&["--model", &pictures, "--images", &pictures], &["transformer"]);
    wrong(
        &["--model", &model, "--images", &pictures, "--vram", "65MiB", "--set", "use_ema=maybe"],
        &["use_ema"],
    );
}

/// What `init` writes for a model of the real sizes and cards of so many GiB, none where nothing fits.
fn config_for(workshop: &Workshop, set: &[String], gibibytes: u64) -> Option<Value> {
    let mut command = sargent();
    command.arg("init").arg(workshop.path("run")).arg("--force");
    let (models, others): (Vec<_>, Vec<_>) =
        set.iter().partition(|setting| setting.starts_with("pretrained_model_name_or_path="));
    command.arg("--model").arg(models[0].split_once('=').unwrap().1);
    command.arg("--images").arg(workshop.path("pictures"));
    command.args(["--vram", &format!("{gibibytes}GiB"), "--set", "resolution=1024"]);
    command.args(others.iter().filter(|set| set.contains("_path=")).flat_map(|set| ["--set", set]));
    let ended = Ended::of(&mut command);
    if ended.code == Some(2) {
        ended.refused(&["the smallest setup needs", "--vram"]);
        return None;
    }
    ended.succeeded();
    let device = format!("cuda:{gibibytes}GiB");
    let plan = of_setup("plan", workshop).args(["--json", "--device", &device]).output().unwrap();
    let plan: Value = serde_json::from_slice(&plan.stdout).unwrap();
    assert!(plan["memory"]["training_peak"].as_u64().unwrap() <= gibibytes << 30);
    Some(written(workshop, "config.json"))
}

#[test]
fn larger_cards_get_larger_batches_and_too_small_ones_a_refusal() {
    let (workshop, set) = workshop_with(&MmditConfig::medium());
    assert_eq!(config_for(&workshop, &set, 4), None);
    let batches = [8, 80].map(|gibibytes| {
        let config = config_for(&workshop, &set, gibibytes).unwrap();
        let (batch, accumulation) = (&config["train_batch_size"], &config["gradient_accumulation_steps"]);
        assert_eq!(batch.as_u64().unwrap() * accumulation.as_u64().unwrap(), 4);
        assert_eq!(config["validation_guidance_skip_layers"], serde_json::json!([7, 8, 9]));
        batch.as_u64().unwrap()
    });
    assert!(batches[0] < batches[1] && batches[1] == 4, "{batches:?}");
}

#[test]
fn the_learning_rate_is_drawn() {
    let workshop = Workshop::new();
    let set = ["lr_scheduler=cosine", "lr_warmup_steps=100", "max_train_steps=1000"];
    let picture = workshop.path("rate.png");
    let mut plan = workshop.command("plan", &set);
    let text = Ended::of(plan.arg("--lr-curve").arg(&picture)).succeeded().stdout;
    assert!(text.contains("learning rate") && text.contains("1e-3"), "{text}");
    assert!(text.chars().any(|c| ('\u{2801}'..='\u{28ff}').contains(&c)), "{text}");
    assert!(image::open(&picture).unwrap().width() > 1000);
    let plan = workshop.plan(&set);
    let points = plan["learning_rate"].as_array().unwrap();
    let rates: Vec<f64> = points.iter().map(|point| point[1].as_f64().unwrap()).collect();
    // 100 steps of 1000 rise; then half a cosine falls.
    let peak = rates.iter().position(|&rate| rate == rates.iter().copied().fold(0.0, f64::max)).unwrap();
    assert!((0.08..0.12).contains(&(peak as f64 / rates.len() as f64)), "{peak} of {}", rates.len());
    assert!(rates[0] == 0.0 && rates[rates.len() - 1] < 1e-8 && points[points.len() - 1][0] == 1000);
}

#[test]
fn time_is_told_where_it_was_measured_and_nowhere_else() {
    let workshop = Workshop::new();
    let said = |set: &[&str], measured: Option<&Path>| {
        let mut plan = workshop.command("plan", set);
        plan.args(measured.into_iter().flat_map(|folder| [Path::new("--measured"), folder]));
        Ended::of(&mut plan).succeeded().stdout
    };
    assert!(said(&[], None).contains("no measured rate yet"));
    assert_eq!(workshop.plan(&[])["time"], Value::Null);
    workshop.trained(&[]);
    assert!(said(&["max_train_steps=100000"], None).contains("the mean of 7 steps on cpu"));
    assert!(said(&["lora_rank=8"], None).contains("differs in\n             lora_rank"));
    let elsewhere = format!("output_dir={}", workshop.path("elsewhere").display());
    assert!(said(&[&elsewhere], None).contains("no measured rate yet"));
    assert!(said(&[&elsewhere], Some(&workshop.output())).contains("of training"));
    let time = &workshop.plan(&["max_train_steps=800"])["time"];
    let per_step = time["seconds_per_step"].as_f64().unwrap();
    assert!((time["seconds"].as_f64().unwrap() / (800.0 * per_step) - 1.0).abs() < 1e-9);
}
