//! Every kind of adapter, from training to a picture drawn with its file.

use super::workshop::{Ended, Workshop, model, sargent};
use serde_json::Value;
use std::path::Path;

const LOKR: &str = r#"lycoris_config={"algo":"lokr","linear_dim":2,"linear_alpha":2,"factor":4}"#;
const LOHA: &str = r#"lycoris_config={"algo":"loha","linear_dim":2,"linear_alpha":1,"apply_preset":{"target_module":["Attention","FeedForward"]}}"#;
const LOKR_DORA: &str =
    r#"lycoris_config={"algo":"lokr","linear_dim":10000,"factor":-1,"weight_decompose":true}"#;

/// The settings of every kind, and parts of its file's keys.
fn kinds() -> [(&'static str, Vec<&'static str>, &'static str); 6] {
    [
        ("LoRA", vec!["use_rslora=true", "rank_pattern=attn.to_q=2"], ".lora_A.weight"),
        ("DoRA", vec!["use_dora=true"], ".lora_magnitude_vector"),
        ("DoRA with dropout", vec!["use_dora=true", "lora_dropout=0.2"], ".lora_magnitude_vector"),
        ("LoKr", vec!["lora_type=lycoris", LOKR], ".lokr_w2_b"),
        ("LoHa", vec!["lora_type=lycoris", LOHA], ".hada_w2_a"),
        ("LoKr with magnitudes", vec!["lora_type=lycoris", LOKR_DORA], ".dora_scale"),
    ]
}

fn losses(workshop: &Workshop) -> Vec<f64> {
    workshop.metrics().iter().map(|step| step["loss"].as_f64().unwrap()).collect()
}

/// The keys of the LoRA of a workshop.
fn keys(workshop: &Workshop) -> Vec<String> {
    let bytes = workshop.lora();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    file.names().into_iter().map(str::to_owned).collect()
}

fn drawn(workshop: &Workshop, name: &str, loras: &[String]) -> image::RgbImage {
    let out = workshop.path(name);
    let mut sample = sargent();
    sample.args([
        "sample",
        "--prompt",
        "k4s4, a red star",
        "--steps",
        "3",
        "--width",
        "64",
        "--height",
        "64",
    ]);
    sample.args(["--seed", "7", "--set", "tokenizer_max_length=77", "--model"]).arg(model());
    sample.args(loras.iter().flat_map(|lora| ["--lora", lora]));
    Ended::of(sample.arg("--out").arg(&out)).succeeded();
    image::open(out).unwrap().to_rgb8()
}

fn lora_path(workshop: &Workshop) -> String {
    workshop.output().join("pytorch_lora_weights.safetensors").display().to_string()
}

#[test]
fn every_kind_goes_on_bit_for_bit_and_writes_its_own_keys() {
    for (kind, settings, key) in kinds() {
        let workshop = Workshop::new();
        let set = [&settings[..], &["use_ema=true", "checkpoints_state_limit=4"]].concat();
        workshop.trained(&set);
        let (lora, metrics) = (workshop.lora(), workshop.metrics());
        assert!(keys(&workshop).iter().any(|name| name.ends_with(key)), "{kind}: {:?}", keys(&workshop));
        workshop.trained(&[&set[..], &["resume_from_checkpoint=checkpoint-4"]].concat());
        assert!(workshop.lora() == lora, "{kind}");
        assert_eq!(workshop.metrics(), metrics, "{kind}");
    }
}

#[test]
fn every_kind_learns() {
    for (kind, settings, _) in kinds() {
        let mean = |learning_rate: &'static str| {
            let workshop = Workshop::new();
            let more = ["max_train_steps=24", "checkpointing_steps=0", "train_batch_size=6", learning_rate];
            workshop.trained(&[&settings[..], &more].concat());
            let losses = losses(&workshop);
            losses[12..].iter().sum::<f64>() / 12.0
        };
        // The same steps see the same noise, so the losses differ by what was learnt alone.
        let (still, learnt) = (mean("learning_rate=0"), mean("learning_rate=5e-3"));
        assert!(learnt < 0.995 * still, "{kind}: {learnt} after learning, {still} without");
    }
}

#[test]
fn recomputing_changes_no_number() {
    for (kind, settings, _) in kinds() {
        let loras = ["store", "selective", "lean", "full"].map(|policy| {
            let workshop = Workshop::new();
            let policy = format!("recompute={policy}");
            workshop.trained(&[&settings[..], &["max_train_steps=3", &policy]].concat());
            workshop.lora()
        });
        assert!(loras.iter().all(|lora| *lora == loras[0]), "{kind}");
    }
}

#[test]
fn every_kind_draws_at_its_strength_and_beside_others() {
    let others = Workshop::new();
    others.trained(&["learning_rate=2e-2"]);
    let plain = drawn(&others, "plain.png", &[]);
    for (kind, settings, _) in kinds() {
        let workshop = Workshop::new();
        workshop.trained(&[&settings[..], &["learning_rate=2e-2"]].concat());
        let lora = lora_path(&workshop);
        let whole = drawn(&workshop, "whole.png", std::slice::from_ref(&lora));
        assert_ne!(whole, plain, "{kind}");
        assert_eq!(drawn(&workshop, "none.png", &[format!("{lora}:0")]), plain, "{kind}");
        let both = drawn(&workshop, "both.png", &[lora.clone(), lora_path(&others)]);
        assert!(both != whole && both != drawn(&workshop, "other.png", &[lora_path(&others)]), "{kind}");
    }
}

/// The loss of the first step is that of the adapter with which the run begins.
#[test]
fn training_on_begins_exactly_where_the_file_ends() {
    for (kind, settings, key) in kinds() {
        if kind.contains("dropout") {
            continue;
        }
        let first = Workshop::new();
        first.trained(&[&settings[..], &["learning_rate=1e-2", "save_dtype=fp32"]].concat());
        let path = first.path("first.safetensors");
        std::fs::write(&path, first.lora()).unwrap();
        // The same data and seed; a run without a step writes what it began with.
        let second = Workshop::new();
        let init = format!("init_lora={}", path.display());
        let still = ["learning_rate=0", "adam_weight_decay=0", "save_dtype=fp32", "max_train_steps=1", &init];
        second.trained(&still);
        assert!(keys(&second).iter().any(|name| name.ends_with(key)), "{kind}");
        let (before, after) = (tensors(&first.lora()), tensors(&second.lora()));
        assert_eq!(before.len(), after.len(), "{kind}");
        for ((name, before), (_, after)) in before.iter().zip(&after) {
            let close = before.iter().zip(after).all(|(a, b)| (a - b).abs() <= 1e-6 * a.abs());
            assert!(close, "{kind}: {name}");
        }
    }
}

/// Names and values of the tensors of a file of f32.
fn tensors(bytes: &[u8]) -> Vec<(String, Vec<f32>)> {
    let file = safetensors::SafeTensors::deserialize(bytes).unwrap();
    let values =
        |data: &[u8]| data.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
    let mut all: Vec<_> =
        file.tensors().into_iter().map(|(name, tensor)| (name, values(tensor.data()))).collect();
    all.sort_by(|a, b| a.0.cmp(&b.0));
    all
}

#[test]
fn layers_that_the_file_lacks_begin_without_a_change() {
    let first = Workshop::new();
    first.trained(&["lora_blocks=0", "max_train_steps=2", "lora_rank=3"]);
    let path = first.path("first.safetensors");
    std::fs::write(&path, first.lora()).unwrap();
    let second = Workshop::new();
    let init = format!("init_lora={}", path.display());
    second.trained(&["max_train_steps=2", "lora_rank=5", &init]);
    let bytes = second.lora();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let rank = |block: usize| {
        let name = format!("transformer.transformer_blocks.{block}.attn.to_q.lora_A.weight");
        file.tensor(&name).unwrap().shape()[0]
    };
    assert_eq!((rank(0), rank(1)), (3, 5), "the file's layers keep their rank");
    let refused = second.train(&["lora_blocks=1", &init, "overwrite=true"]);
    refused.refused(&["init_lora", "lora_blocks"]);
}

#[test]
fn blocks_and_plans_agree_with_what_is_trained() {
    let workshop = Workshop::new();
    let plan: Value = workshop.plan(&["lora_blocks=1"]);
    let layers = plan.to_string();
    workshop.trained(&["lora_blocks=1", "max_train_steps=1"]);
    assert!(keys(&workshop).iter().all(|key| key.contains("transformer_blocks.1.")), "{layers}");
}

#[test]
fn what_an_adapter_cannot_be_is_said_before_anything_begins() {
    let workshop = Workshop::new();
    let missing = workshop.path("none.safetensors");
    let broken = workshop.path("broken.safetensors");
    std::fs::write(&broken, b"no safetensors").unwrap();
    let set = |path: &Path| format!("init_lora={}", path.display());
    for (settings, parts) in [
        (vec!["lora_type=lycoris"], vec!["lycoris_config", "lora_type"]),
        (vec!["lora_type=lycoris", r#"lycoris_config={"algo":"ia3"}"#], vec!["lycoris_config", "ia3"]),
        (vec!["lora_type=lycoris", "lycoris_config=nowhere.json"], vec!["nowhere.json"]),
        (vec!["lora_type=lycoris", LOKR, "use_dora=true"], vec!["use_dora", "weight_decompose"]),
        (vec!["rank_pattern=attn.to_x=4"], vec!["rank_pattern", "attn.to_x"]),
        (vec!["rank_pattern=to_(q=4"], vec!["rank_pattern", "regular expression"]),
        (vec!["lora_blocks=99"], vec!["lora_blocks", "99"]),
        (vec!["lora_blocks=3-1"], vec!["lora_blocks", "backwards"]),
        (vec![&*set(&missing)], vec!["none.safetensors"]),
        (vec![&*set(&broken)], vec!["broken.safetensors", "safetensors file"]),
    ] {
        workshop.train(&settings).refused(&parts);
        assert!(!workshop.output().join("metrics.jsonl").exists());
    }
}
