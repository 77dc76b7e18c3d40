//! Training by the CUDA kernels, on the emulator, follows training on the processor.

use super::workshop::{Ended, Workshop};
use serde_json::{Value, json};

const STEPS: usize = 3;

/// What two losses may differ by, relative: a few roundings of bf16 through the whole model.
const LOSS_LIMIT: f64 = 2e-2;
/// What two gradient norms may differ by, relative.
const NORM_LIMIT: f64 = 5e-2;

/// A run of a few steps; its metrics.
fn train(workshop: &Workshop, device: &str, set: &[&str]) -> Vec<Value> {
    let steps = format!("max_train_steps={STEPS}");
    let set = [set, &[&steps, "overwrite=true", "checkpointing_steps=0"]].concat();
    Ended::of(workshop.command("train", &set).args(["--device", device])).succeeded();
    workshop.metrics()
}

fn assert_follows(found: &[Value], expected: &[Value], what: &str) {
    assert_eq!(found.len(), STEPS, "{what}");
    for (found, expected) in found.iter().zip(expected) {
        for (key, limit) in [("loss", LOSS_LIMIT), ("grad_norm", NORM_LIMIT)] {
            let (found, expected) = (found[key].as_f64().unwrap(), expected[key].as_f64().unwrap());
            let apart = (found - expected).abs() / expected.abs();
            assert!(apart <= limit, "{what}: {key} {found} beside {expected}");
        }
        for key in ["step", "epoch", "lr"] {
            assert_eq!(found[key], expected[key], "{what}: {key}");
        }
    }
}

/// Latents and embeddings come from one cache, so that what differs is the training.
#[test]
fn every_optimizer_follows_the_processor_and_repeats_its_bits() {
    for optimizer in ["adamw", "adamw_bf16", "adamw_8bit"] {
        let workshop = Workshop::new();
        let set = [&*format!("optimizer={optimizer}")];
        let expected = train(&workshop, "cpu", &set);
        let found = train(&workshop, "emulator", &set);
        assert_follows(&found, &expected, optimizer);
        let first = workshop.lora();
        assert_eq!(train(&workshop, "emulator", &set), found, "{optimizer}");
        assert!(workshop.lora() == first, "{optimizer}: a second run gives another file");
    }
}

/// Where a product's epilogue computes from sums that were not rounded yet, what is made again from the kept result
/// differs by that rounding, so policies agree within the bounds of bf16, and each repeats its own bits.
#[test]
fn every_recompute_policy_follows_the_processor() {
    let workshop = Workshop::new();
    let expected = train(&workshop, "cpu", &["recompute=store"]);
    for recompute in ["store", "selective", "lean", "full"] {
        let set = [&*format!("recompute={recompute}")];
        let found = train(&workshop, "emulator", &set);
        assert_follows(&found, &expected, recompute);
        assert_eq!(train(&workshop, "emulator", &set), found, "{recompute}");
    }
}

/// Masks come from the counters, so both devices drop the same elements.
#[test]
fn dropout_and_accumulation_follow_the_processor() {
    let workshop = Workshop::new();
    let set =
        ["lora_dropout=0.3", "gradient_accumulation_steps=2", "use_ema=true", "lora_targets=all-linear"];
    let expected = train(&workshop, "cpu", &set);
    assert_follows(&train(&workshop, "emulator", &set), &expected, "dropout");
}

/// Captions that vary, mirrored views, random crops of a second data set, and pictures that are held out.
#[test]
fn every_adapter_follows_the_processor_on_varied_data() {
    let lokr = r#"lycoris_config={"algo": "lokr", "linear_dim": 4, "factor": 4}"#;
    let loha = r#"lycoris_config={"algo": "loha", "linear_dim": 4}"#;
    let workshop = Workshop::new();
    let pictures = workshop.path("pictures");
    workshop.write_data(&json!([
        { "id": "style", "instance_data_dir": pictures, "flip_aug": true, "shuffle_caption": true },
        { "id": "parts", "instance_data_dir": pictures, "is_reg": true, "max_num_samples": 2, "crop": true,
          "crop_style": "random", "caption_strategy": "instanceprompt", "instance_prompt": "a picture" },
    ]));
    for adapter in [&["use_dora=true"][..], &["lora_type=lycoris", lokr], &["lora_type=lycoris", loha]] {
        let set = [adapter, &["eval_share=0.3", "grad_clip_method=value", "max_grad_norm=0.01"]].concat();
        let expected = train(&workshop, "cpu", &set);
        let held_out = |workshop: &Workshop| workshop.lines("evaluation.jsonl");
        let expected_held_out = held_out(&workshop);
        assert_follows(&train(&workshop, "emulator", &set), &expected, adapter[adapter.len() - 1]);
        for (found, expected) in held_out(&workshop).iter().zip(&expected_held_out) {
            let (found, expected) = (found["loss"].as_f64().unwrap(), expected["loss"].as_f64().unwrap());
            assert!((found - expected).abs() <= LOSS_LIMIT * expected, "held out: {found} beside {expected}");
        }
    }
}
