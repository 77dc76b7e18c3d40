//! What a run leaves: checkpoints within their limits, and a LoRA whose bytes depend on nothing but the settings.

use super::workshop::{Ended, Workshop};
use safetensors::SafeTensors;
use serde_json::Value;
use std::collections::BTreeSet;

/// The tensors in a file.
fn names(file: &[u8]) -> BTreeSet<String> {
    SafeTensors::deserialize(file).unwrap().names().into_iter().map(str::to_owned).collect()
}

#[test]
fn old_checkpoints_go_and_older_ones_keep_the_lora_alone() {
    let workshop = Workshop::new();
    let limits = ["checkpoints_total_limit=4", "checkpoints_state_limit=2"];
    workshop.trained(&[&limits[..], &["max_train_steps=11"]].concat());
    assert_eq!(workshop.checkpoints(), [6, 8, 10, 11]);
    for (step, has_state) in [(6, false), (8, false), (10, true), (11, true)] {
        let folder = workshop.output().join(format!("checkpoint-{step}"));
        assert_eq!(folder.join("state.safetensors").exists(), has_state, "{step}");
        assert_eq!(folder.join("state.json").exists(), has_state, "{step}");
        let lora = std::fs::read(folder.join("pytorch_lora_weights.safetensors")).unwrap();
        assert_eq!(names(&lora), names(&workshop.lora()));
    }
    let last = workshop.output().join("checkpoint-11/pytorch_lora_weights.safetensors");
    assert!(std::fs::read(last).unwrap() == workshop.lora());
}

#[test]
fn without_a_limit_all_stay() {
    let workshop = Workshop::new();
    workshop.trained(&["checkpoints_total_limit=0", "checkpointing_steps=1", "max_train_steps=7"]);
    assert_eq!(workshop.checkpoints(), [1, 2, 3, 4, 5, 6, 7]);
}

#[test]
fn the_lora_has_the_one_form_and_a_header_without_places_and_times() {
    let workshop = Workshop::new();
    workshop.trained(&["max_train_steps=2", "lora_alpha=8"]);
    let bytes = workshop.lora();
    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    let metadata = header.metadata().as_ref().unwrap();
    let mut keys: Vec<&String> = metadata.keys().collect();
    keys.sort();
    assert_eq!(keys, ["format", "sargent"]);
    let settings: Value = serde_json::from_str(&metadata["sargent"]).unwrap();
    assert_eq!(settings["run"]["lora_rank"], 4);
    let root = workshop.path("").display().to_string();
    for absent in [root.as_str(), "output_dir", "resume", "cache_dir", "recompute", "validation"] {
        assert!(!metadata["sargent"].contains(absent), "{absent} is in {settings}");
    }
    for (name, tensor) in SafeTensors::deserialize(&bytes).unwrap().iter() {
        assert!(name.starts_with("transformer.transformer_blocks."), "{name}");
        assert!(name.ends_with(".lora_A.weight") || name.ends_with(".lora_B.weight"), "{name}");
        assert_eq!(tensor.dtype(), safetensors::Dtype::BF16);
    }
}

#[test]
fn the_bytes_do_not_depend_on_threads_or_memory_or_places() {
    let workshop = Workshop::new();
    let base =
        ["max_train_steps=5", "train_batch_size=4", "lora_dropout=0.1", "caption_dropout_probability=0.2"];
    let lora = |threads: &str, set: &[&str]| {
        let mut command = workshop.command("train", &[&base[..], &["overwrite=true"], set].concat());
        Ended::of(command.env("RAYON_NUM_THREADS", threads)).succeeded();
        workshop.lora()
    };
    let expected = lora("1", &[]);
    for threads in ["2", "3"] {
        assert!(lora(threads, &[]) == expected, "{threads} threads");
    }
    for policy in ["store", "selective", "lean", "full"] {
        assert!(lora("1", &[&format!("recompute={policy}")]) == expected, "{policy}");
    }
    assert!(lora("2", &["gradient_checkpointing=true"]) == expected);
    for steps in ["modulation_steps=1", "modulation_steps=3"] {
        assert!(lora("1", &[steps]) == expected, "{steps}");
    }
    let elsewhere = workshop.path("a folder/elsewhere");
    lora("2", &[&format!("output_dir={}", elsewhere.display()), "checkpointing_steps=0"]);
    let there = elsewhere.join("pytorch_lora_weights.safetensors");
    assert!(std::fs::read(there).unwrap() == expected, "another folder");
}
