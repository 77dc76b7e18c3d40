//! Runs that are killed, or asked to stop, and then go on: nothing is half there, nothing is lost, and the end is
//! that of a run that was left alone, byte for byte.

use super::workshop::{Ended, Workshop, files, sargent, signal, wait_until};
use sargent::random::{Purpose, Stream};
use sargent::train::checkpoint::{self, Checkpoint};
use serde_json::json;
use std::path::Path;
use std::time::{Duration, Instant};

/// How often each run is killed at least.
const KILLS: usize = 7;
const RESUME: &str = "resume_from_checkpoint=latest";

/// Every published file under `folder` is whole, and every checkpoint with a state can be resumed.
fn assert_whole(folder: &Path) {
    for (path, bytes) in files(folder) {
        let name = path.strip_prefix(folder).unwrap().to_str().unwrap();
        // Unfinished files and folders have these names until they are whole.
        if name.split('/').any(|part| part.starts_with(".writing-") || part.starts_with(".removing-")) {
            continue;
        }
        let text = || std::str::from_utf8(&bytes).unwrap();
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("safetensors") => drop(safetensors::SafeTensors::deserialize(&bytes).expect(name)),
            Some("png") => drop(image::load_from_memory(&bytes).expect(name)),
            Some("json") => drop(serde_json::from_str::<serde_json::Value>(text()).expect(name)),
            Some("jsonl") => text()
                .lines()
                .for_each(|line| drop(serde_json::from_str::<serde_json::Value>(line).expect(name))),
            Some("html") => assert!(text().trim_end().ends_with("</html>"), "{name}"),
            Some("txt") => assert!(text().ends_with('\n'), "{name}"),
            _ => assert!(name.starts_with("tensorboard/"), "what is {name}?"),
        }
    }
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for folder in entries.map(|entry| entry.unwrap().path()) {
        let name = folder.file_name().unwrap().to_str().unwrap();
        let Some(step) = name.strip_prefix("checkpoint-") else { continue };
        assert!(folder.join("pytorch_lora_weights.safetensors").exists(), "{name}");
        if folder.join("state.json").exists() {
            let step = step.parse().unwrap();
            let restored = checkpoint::load(&Checkpoint { step, folder, has_state: true }).unwrap();
            assert_eq!(restored.step, step);
        }
    }
}

/// Whether something is being written or removed in `folder` right now.
fn is_at_work(folder: &Path) -> bool {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name()).any(|name| {
        name.to_str().is_some_and(|name| name.starts_with(".writing-") || name.starts_with(".removing-"))
    })
}

/// Starts the run again and again and kills it, until it was killed often enough and then finishes.
fn kill_and_resume(workshop: &Workshop, set: &[&str], seed: u64) {
    let random = Stream::new(seed, Purpose::Noise, 0, 0, 0);
    let mut kills = 0;
    for attempt in 0.. {
        let mut run = workshop.begin(set);
        let begin = Instant::now();
        if kills < KILLS {
            std::thread::sleep(Duration::from_micros(20_000 + random.below(attempt, 400_000) as u64));
            // Every other time, in the middle of writing.
            while kills % 2 == 1 && !is_at_work(&workshop.output()) && run.try_wait().unwrap().is_none() {
                assert!(begin.elapsed() < Duration::from_secs(60));
                std::thread::sleep(Duration::from_micros(100));
            }
            run.kill().unwrap();
        }
        let ended = Ended::from(run.wait_with_output().unwrap());
        assert_whole(&workshop.output());
        match ended.code {
            None => kills += 1,
            Some(0) if kills >= KILLS => return,
            // It was faster than the killer: once more from the beginning.
            Some(0) => std::fs::remove_dir_all(workshop.output()).unwrap(),
            code => panic!("{code:?}: {}", ended.stderr),
        }
    }
}

fn assert_killing_changes_nothing(set: &[&str], seed: u64) {
    assert_killing_changes_nothing_in(&Workshop::new(), set, seed);
}

fn assert_killing_changes_nothing_in(workshop: &Workshop, set: &[&str], seed: u64) {
    let set = [&["max_train_steps=24"], set].concat();
    workshop.trained(&set);
    let expected = (workshop.lora(), workshop.metrics());
    let samples = workshop.lines("samples.jsonl");
    assert_eq!((expected.1.len(), samples.len()), (24, 24));
    std::fs::remove_dir_all(workshop.output()).unwrap();
    kill_and_resume(workshop, &[&set[..], &[RESUME]].concat(), seed);
    assert!(workshop.lora() == expected.0, "the LoRA is another");
    assert_eq!(workshop.metrics(), expected.1);
    assert_eq!(workshop.lines("samples.jsonl"), samples);
}

#[test]
fn killing_a_plain_run_changes_nothing() {
    assert_killing_changes_nothing(&["seed=1", "lr_scheduler=cosine", "lr_warmup_steps=3"], 1);
}

#[test]
fn killing_a_run_that_accumulates_changes_nothing() {
    let set = ["seed=2", "gradient_accumulation_steps=2", "train_batch_size=1", "modulation_steps=5"];
    assert_killing_changes_nothing(&set, 2);
}

#[test]
fn killing_a_run_with_average_and_dropout_changes_nothing() {
    let set =
        ["seed=3", "use_ema=true", "ema_decay=0.9", "lora_dropout=0.2", "caption_dropout_probability=0.5"];
    assert_killing_changes_nothing(&set, 3);
}

#[test]
fn killing_a_run_that_draws_changes_nothing() {
    let drawing = ["validation_prompt=k4s4, a red star", "validation_resolution=64x64", "validation_steps=3"];
    let set = ["seed=4", "save_dtype=fp32", "checkpointing_steps=5"];
    assert_killing_changes_nothing(&[&drawing[..], &set].concat(), 4);
}

#[test]
fn killing_a_run_that_shuffles_captions_changes_nothing() {
    let set = [
        "seed=5",
        "train_batch_size=1",
        "shuffle_caption=true",
        "caption_tag_dropout_rate=0.3",
        "caption_dropout_probability=0.2",
        "modulation_steps=5",
    ];
    assert_killing_changes_nothing(&set, 5);
}

#[test]
fn killing_a_run_of_several_concepts_changes_nothing() {
    let workshop = Workshop::new();
    let pictures = workshop.path("pictures");
    workshop.write_data(&json!([
        { "id": "style", "instance_data_dir": pictures, "repeats": 1, "flip_aug": true, "random_rotation": 5,
          "random_hue": 0.05, "random_saturation": 0.2, "caption_dropout_probability": 0.5 },
        { "id": "parts", "instance_data_dir": pictures, "probability": 0.5, "resolution": 96, "crop": true,
          "crop_style": "random", "augmentation_variants": 3, "caption_strategy": "filename" },
        { "id": "model", "instance_data_dir": pictures, "is_regularisation_data": true, "max_num_samples": 3,
          "caption_strategy": "instanceprompt", "instance_prompt": "a picture" },
    ]));
    assert_killing_changes_nothing_in(&workshop, &["seed=5", "gradient_accumulation_steps=2"], 5);
}

#[test]
fn killing_a_run_that_is_evaluated_and_goes_back_changes_nothing() {
    let watched = ["eval_share=0.3", "eval_steps=2", "guard=roll_back", "guard_rise=0", "guard_patience=2"];
    let set = ["seed=5", "learning_rate=2e-2", "checkpointing_steps=2", "checkpoints_total_limit=0"];
    assert_killing_changes_nothing(&[&watched[..], &set].concat(), 5);
}

#[test]
fn a_signal_writes_a_checkpoint_and_stops() {
    let workshop = Workshop::new();
    let set = ["max_train_steps=24", "checkpointing_steps=1000"];
    workshop.trained(&set);
    let expected = (workshop.lora(), workshop.metrics());
    std::fs::remove_dir_all(workshop.output()).unwrap();
    let metrics = workshop.output().join("metrics.jsonl");
    let lines = || std::fs::read_to_string(&metrics).unwrap_or_default().lines().count();
    let set = [&set[..], &[RESUME]].concat();
    for (steps, name) in [(3, "TERM"), (12, "INT")] {
        let run = workshop.begin(&set);
        wait_until("steps", || lines() >= steps);
        signal(&run, name);
        let ended = Ended::from(run.wait_with_output().unwrap()).succeeded();
        assert_eq!(workshop.checkpoints().last(), Some(&(lines() as u64)));
        assert!(ended.stderr.contains(&format!("stopped after step {}", lines())), "{}", ended.stderr);
        assert!(lines() < 24 && !workshop.output().join("pytorch_lora_weights.safetensors").exists());
        assert_whole(&workshop.output());
    }
    workshop.trained(&set);
    assert!(workshop.lora() == expected.0, "the LoRA is another");
    assert_eq!(workshop.metrics(), expected.1);
}

#[test]
fn a_second_signal_stops_at_once() {
    let workshop = Workshop::new();
    // A step that takes much longer than this test waits.
    let run = workshop.begin(&["gradient_accumulation_steps=2000", "modulation_steps=1"]);
    wait_until("the first step", || workshop.output().join("tensorboard").exists());
    signal(&run, "TERM");
    std::thread::sleep(Duration::from_millis(50));
    signal(&run, "TERM");
    let begin = Instant::now();
    assert_eq!(Ended::from(run.wait_with_output().unwrap()).code, Some(1));
    assert!(begin.elapsed() < Duration::from_secs(5));
}

#[test]
fn a_signal_while_encoding_stops_before_the_first_step() {
    let workshop = Workshop::with_pictures(24);
    let set = ["resolution=256", "max_train_steps=1"];
    let run = workshop.begin(&set);
    wait_until("the first latents", || workshop.output().join("cache").exists());
    signal(&run, "INT");
    let stderr = Ended::from(run.wait_with_output().unwrap()).succeeded().stderr;
    assert!(stderr.contains("stopped before the first step"), "{stderr}");
    assert!(workshop.checkpoints().is_empty());
    let stderr = workshop.trained(&set);
    assert!(!stderr.contains("encoded 24 pictures"), "{stderr}");
}

#[test]
fn a_run_killed_after_its_last_step_is_finished_when_it_is_resumed() {
    let workshop = Workshop::new();
    workshop.trained(&["validation_prompt=a star", "validation_resolution=64"]);
    let expected = workshop.lora();
    // As if it had been killed between the last checkpoint and the end.
    std::fs::remove_dir_all(workshop.output().join("validation/step-000008")).unwrap();
    std::fs::remove_file(workshop.output().join("pytorch_lora_weights.safetensors")).unwrap();
    std::fs::remove_file(workshop.output().join("before_after.png")).unwrap();
    workshop.trained(&["validation_prompt=a star", "validation_resolution=64", RESUME]);
    assert!(workshop.lora() == expected);
    assert!(workshop.output().join("validation/step-000008/validation_64x64.png").exists());
    assert!(workshop.output().join("before_after.png").exists());
}

#[test]
fn the_program_needs_no_home_and_no_terminal() {
    let help = Ended::of(sargent().env_clear().arg("--help")).succeeded();
    assert!(help.stdout.contains("Usage: sargent"));
}
