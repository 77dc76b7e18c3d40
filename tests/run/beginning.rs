//! How a run begins in a folder: afresh, going on, over an earlier run, or not at all.

use super::workshop::{Workshop, files, wait_until};

const LATEST: &str = "resume_from_checkpoint=latest";

#[test]
fn latest_with_nothing_there_starts_afresh_and_says_so() {
    let workshop = Workshop::new();
    let stderr = workshop.trained(&[LATEST, "max_train_steps=2"]);
    assert!(stderr.contains("there is no checkpoint to resume; starting afresh"), "{stderr}");
    assert_eq!(workshop.checkpoints(), [2]);
}

#[test]
fn a_checkpoint_that_is_named_must_be_there() {
    let workshop = Workshop::new();
    workshop.trained(&["max_train_steps=4"]);
    let before = files(&workshop.output());
    let named = workshop.train(&["resume_from_checkpoint=checkpoint-3", "max_train_steps=6"]);
    named.refused(&["checkpoint-3", "no such checkpoint", "checkpoint-2, checkpoint-4"]);
    assert!(files(&workshop.output()) == before);
    workshop.trained(&["resume_from_checkpoint=checkpoint-2", "max_train_steps=6"]);
    assert_eq!(workshop.metrics().len(), 6);
}

#[test]
fn a_finished_run_is_left_alone() {
    let workshop = Workshop::new();
    workshop.trained(&["max_train_steps=4"]);
    let times =
        || files(&workshop.output()).into_keys().map(|path| path.metadata().unwrap().modified().unwrap());
    let (before, times_before) = (files(&workshop.output()), times().collect::<Vec<_>>());
    let stderr = workshop.trained(&["max_train_steps=4", LATEST]);
    assert!(stderr.contains("all steps were done already"), "{stderr}");
    assert!(files(&workshop.output()) == before);
    assert_eq!(times().collect::<Vec<_>>(), times_before);
}

#[test]
fn a_resumed_run_keeps_what_it_began_with() {
    let workshop = Workshop::new();
    workshop.trained(&["max_train_steps=2"]);
    let before = files(&workshop.output());
    for (set, name) in [
        ("lora_rank=8", "`lora_rank`"),
        ("seed=7", "`seed`"),
        ("learning_rate=1e-4", "`learning_rate`"),
        ("train_batch_size=1", "`train_batch_size`"),
        ("use_ema=true", "`use_ema`"),
        ("lora_targets=diffusers", "`lora_targets`"),
    ] {
        workshop.train(&[LATEST, "max_train_steps=4", set]).refused(&[name, "was", "is now"]);
    }
    assert!(files(&workshop.output()) == before);
}

#[test]
fn a_resumed_run_may_be_longer_and_look_elsewhere() {
    let workshop = Workshop::new();
    workshop.trained(&["max_train_steps=8"]);
    let expected = (workshop.lora(), workshop.metrics());
    std::fs::remove_dir_all(workshop.output()).unwrap();
    workshop.trained(&["max_train_steps=4"]);
    let free =
        ["validation_prompt=a star", "validation_steps=3", "validation_resolution=64", "validation_seed=3"];
    let more = ["checkpointing_steps=3", "checkpoints_total_limit=2", "recompute=lean", "modulation_steps=2"];
    workshop.trained(&[&free[..], &more, &["max_train_steps=8", LATEST]].concat());
    assert!(workshop.lora() == expected.0, "the LoRA is another");
    assert_eq!(workshop.metrics(), expected.1);
    assert_eq!(workshop.checkpoints(), [6, 8]);
}

#[test]
fn an_earlier_run_is_not_begun_anew_unasked() {
    let workshop = Workshop::new();
    workshop.trained(&["max_train_steps=4"]);
    let before = files(&workshop.output());
    workshop.train(&["max_train_steps=2"]).refused(&["checkpoint-4", "overwrite=true", LATEST]);
    workshop.train(&["overwrite=true", LATEST]).refused(&["`overwrite`", "`resume_from_checkpoint`"]);
    assert!(files(&workshop.output()) == before);
    workshop.trained(&["max_train_steps=2", "overwrite=true", "seed=5"]);
    assert_eq!((workshop.checkpoints(), workshop.metrics().len()), (vec![2], 2));
}

#[test]
fn a_lora_whose_checkpoints_are_gone_is_not_overwritten_unasked() {
    let workshop = Workshop::new();
    workshop.trained(&["max_train_steps=2"]);
    std::fs::remove_dir_all(workshop.output().join("checkpoint-2")).unwrap();
    workshop.train(&[LATEST]).refused(&["an earlier run lies here"]);
}

#[test]
fn an_earlier_run_goes_only_when_the_new_one_can_begin() {
    let workshop = Workshop::new();
    workshop.trained(&["max_train_steps=2"]);
    let before = files(&workshop.output());
    let over = ["overwrite=true", "max_train_steps=2"];
    workshop
        .train(&[&over[..], &["validation_prompt=a", "validation_resolution=4096"]].concat())
        .refused(&[]);
    workshop.train(&[&over[..], &["lora_targets=to_nowhere"]].concat()).refused(&["to_nowhere"]);
    let caption =
        files(&workshop.path("pictures")).into_keys().find(|path| path.ends_with("00_orange_circle.txt"));
    std::fs::remove_file(caption.unwrap()).unwrap();
    workshop.train(&over).refused(&["00_orange_circle"]);
    assert!(files(&workshop.output()) == before);
}

#[test]
fn a_folder_is_used_by_one_run_at_a_time() {
    let workshop = Workshop::new();
    let mut first = workshop.begin(&["gradient_accumulation_steps=2000", "modulation_steps=1"]);
    wait_until("the first run", || workshop.output().join("settings.json").exists());
    let process = format!("process {}", first.id());
    workshop.train(&["overwrite=true"]).refused(&["another run is using this folder", &process]);
    workshop.train(&[LATEST]).refused(&["another run is using this folder"]);
    first.kill().unwrap();
    first.wait().unwrap();
    workshop.trained(&["max_train_steps=2"]);
}

#[test]
fn a_damaged_checkpoint_is_passed_over() {
    let workshop = Workshop::new();
    workshop.trained(&["max_train_steps=4"]);
    let state = workshop.output().join("checkpoint-4/state.safetensors");
    let mut bytes = std::fs::read(&state).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    std::fs::write(&state, bytes).unwrap();
    let stderr = workshop.trained(&[LATEST, "max_train_steps=6"]);
    assert!(stderr.contains("passed over: ") && stderr.contains("going on after step 2"), "{stderr}");
    assert_eq!(workshop.metrics().len(), 6);
    std::fs::write(&state, "").unwrap();
    workshop.train(&["resume_from_checkpoint=checkpoint-4", "max_train_steps=8"]).refused(&["checkpoint-4"]);
}
