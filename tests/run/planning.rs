//! What `plan` says, and whether it is so.

use super::workshop::{Ended, Workshop, model};
use sargent::models::mmdit::MmditConfig;
use sargent::models::mmdit::config::HEAD_DIM;
use serde_json::{Value, json};
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

/// The memory that a run said to hold at its end: weights, persistent region, arena.
fn held(stderr: &str) -> [u64; 3] {
    let (_, line) = stderr.split_once("memory held: ").unwrap();
    let (_, parts) = line.lines().next().unwrap().split_once('(').unwrap();
    let number = |part: &str| part.trim_end_matches(')').rsplit(' ').next().unwrap().parse().unwrap();
    let parts: Vec<u64> = parts.split(", ").map(number).collect();
    parts.try_into().unwrap()
}

#[test]
fn a_run_holds_the_memory_that_was_planned() {
    let drawing = ["validation_prompt=a star", "validation_resolution=128x64,192x192"];
    let large_batch =
        ["train_batch_size=4", "use_ema=true", "recompute=selective", "lora_targets=all-linear"];
    let accumulated = ["gradient_accumulation_steps=3", "recompute=lean", "validation_guidance=1"];
    for set in [&drawing[..], &large_batch, &[&drawing[..], &accumulated].concat()] {
        let workshop = Workshop::new();
        let set = [set, &["max_train_steps=4"]].concat();
        let plan = workshop.plan(&set);
        assert!(!workshop.output().exists(), "planning writes nothing");
        let part = |name: &str| plan["memory"][name].as_u64().unwrap();
        let states = ["adapters", "gradients", "optimizer", "average", "step_state"];
        let expected = [part("weights"), states.into_iter().map(part).sum(), part("arena")];
        assert_eq!(held(&workshop.trained(&set)), expected, "{set:?}");
        assert_eq!(expected.iter().sum::<u64>(), part("training_peak"));
        assert!(part("activations").max(part("workspace")).max(part("drawing_arena")) <= part("arena"));
    }
}

#[test]
fn a_plan_tells_the_steps_that_are_then_done() {
    let workshop = Workshop::new();
    let set = ["max_train_steps=0", "num_train_epochs=2", "train_batch_size=4"];
    let plan = workshop.plan(&set);
    let pictures: u64 =
        plan["buckets"].as_array().unwrap().iter().map(|b| b["pictures"].as_u64().unwrap()).sum();
    assert_eq!(pictures, 6);
    assert_eq!(plan["total_steps"].as_u64().unwrap(), 2 * plan["steps_per_epoch"].as_u64().unwrap());
    workshop.trained(&set);
    assert_eq!(workshop.metrics().len() as u64, plan["total_steps"].as_u64().unwrap());
}

#[test]
fn a_plan_reads_well() {
    let workshop = Workshop::new();
    let mut plan = workshop.command("plan", &[]);
    let text = Ended::of(plan.args(["--device", "cuda:8GiB"])).succeeded().stdout;
    for part in ["bucket", "steps", "trainable parameters", "weights", "arena", "disk", "recompute=lean"] {
        assert!(text.contains(part), "{part} is missing in\n{text}");
    }
    assert!(text.contains("fits"));
}

/// Writes a safetensors file of bf16 zeros that take no room on disk.
fn write_hollow(path: &Path, tensors: &[(String, Vec<usize>)]) {
    let (mut header, mut end) = (serde_json::Map::new(), 0);
    for (name, shape) in tensors {
        let bytes = 2 * shape.iter().product::<usize>();
        let entry = json!({ "dtype": "BF16", "shape": shape, "data_offsets": [end, end + bytes] });
        header.insert(name.clone(), entry);
        end += bytes;
    }
    let header = Value::Object(header).to_string();
    let mut file = File::create(path).unwrap();
    file.write_all(&(header.len() as u64).to_le_bytes()).unwrap();
    file.write_all(header.as_bytes()).unwrap();
    file.set_len((8 + header.len() + end) as u64).unwrap();
}

fn transformer(config: &MmditConfig) -> Vec<(String, Vec<usize>)> {
    let prefixed = |name: &str| format!("model.diffusion_model.{name}");
    config.weights().iter().map(|(name, shape)| (prefixed(name), shape.dims().to_vec())).collect()
}

fn clip(layers: usize, width: usize) -> Vec<(String, Vec<usize>)> {
    let mut all = vec![
        ("text_model.embeddings.token_embedding.weight".to_owned(), vec![49408, width]),
        ("text_model.embeddings.position_embedding.weight".to_owned(), vec![77, width]),
        ("text_projection.weight".to_owned(), vec![width, width]),
    ];
    let mut add = |name: String, rows: usize, columns: Option<usize>| {
        all.push((format!("{name}.weight"), [rows].into_iter().chain(columns).collect()));
        all.push((format!("{name}.bias"), vec![rows]));
    };
    for layer in (0..layers).map(|layer| format!("text_model.encoder.layers.{layer}")) {
        ["q_proj", "k_proj", "v_proj", "out_proj"]
            .iter()
            .for_each(|part| add(format!("{layer}.self_attn.{part}"), width, Some(width)));
        add(format!("{layer}.mlp.fc1"), 4 * width, Some(width));
        add(format!("{layer}.mlp.fc2"), width, Some(4 * width));
        add(format!("{layer}.layer_norm1"), width, None);
        add(format!("{layer}.layer_norm2"), width, None);
    }
    add("text_model.final_layer_norm".to_owned(), width, None);
    all
}

fn t5() -> Vec<(String, Vec<usize>)> {
    const WIDTH: usize = 4096;
    let mut all = vec![
        ("shared.weight".to_owned(), vec![32128, WIDTH]),
        ("encoder.final_layer_norm.weight".to_owned(), vec![WIDTH]),
        ("encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight".to_owned(), vec![32, 64]),
    ];
    for block in (0..24).map(|block| format!("encoder.block.{block}")) {
        for part in ["q", "k", "v", "o"] {
            all.push((format!("{block}.layer.0.SelfAttention.{part}.weight"), vec![WIDTH, WIDTH]));
        }
        let middle = 10240;
        for (part, shape) in [("wi_0", [middle, WIDTH]), ("wi_1", [middle, WIDTH]), ("wo", [WIDTH, middle])] {
            all.push((format!("{block}.layer.1.DenseReluDense.{part}.weight"), shape.to_vec()));
        }
        all.push((format!("{block}.layer.0.layer_norm.weight"), vec![WIDTH]));
        all.push((format!("{block}.layer.1.layer_norm.weight"), vec![WIDTH]));
    }
    all
}

/// A workshop with a model of the real sizes and nothing in it; settings that name its parts.
pub fn workshop_with(transformer_config: &MmditConfig) -> (Workshop, Vec<String>) {
    let workshop = Workshop::with_pictures(24);
    let parts = [
        ("pretrained_model_name_or_path", transformer(transformer_config)),
        ("text_encoder_path", clip(12, 768)),
        ("text_encoder_2_path", clip(32, 1280)),
        ("text_encoder_3_path", t5()),
    ];
    let mut set = Vec::new();
    for (key, tensors) in parts {
        let path = workshop.path(&format!("{key}.safetensors"));
        write_hollow(&path, &tensors);
        set.push(format!("{key}={}", path.display()));
    }
    for (key, folder) in [
        ("vae_path", "vae"),
        ("tokenizer_path", "tokenizer"),
        ("tokenizer_2_path", "tokenizer_2"),
        ("tokenizer_3_path", "tokenizer_3"),
    ] {
        set.push(format!("{key}={}", model().join(folder).display()));
    }
    set.extend(["resolution=1024", "train_batch_size=4", "lora_targets=all-linear"].map(str::to_owned));
    set.extend(["validation_prompt=a", "tokenizer_max_length=256"].map(str::to_owned));
    (workshop, set)
}

/// The most memory that a process had, from its `VmHWM`.
fn peak_bytes(process: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(1024 * line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?)
}

#[test]
fn planning_the_largest_models_takes_little_memory() {
    for (config, name) in [(MmditConfig::large(), "SD3.5 Large"), (MmditConfig::medium(), "SD3.5 Medium")] {
        let (workshop, set) = workshop_with(&config);
        let set: Vec<&str> = set.iter().map(String::as_str).collect();
        let mut plan = workshop.command("plan", &set);
        let mut plan = plan
            .args(["--json", "--device", "cuda:24GiB"])
            .stdout(File::create(workshop.path("plan.json")).unwrap())
            .spawn()
            .unwrap();
        let mut peak = 0;
        let status = loop {
            peak = peak.max(peak_bytes(plan.id()).unwrap_or(0));
            if let Some(status) = plan.try_wait().unwrap() {
                break status;
            }
            std::thread::sleep(Duration::from_millis(1));
        };
        assert!(status.success());
        assert!(peak < 200_000_000, "{name} took {} MB", peak / 1_000_000);
        let plan = std::fs::read_to_string(workshop.path("plan.json")).unwrap();
        let plan: Value = serde_json::from_str(&plan).unwrap();
        assert_eq!(plan["model"], name);
        let weights: usize = config.weights().iter().map(|(_, shape)| shape.elements()).sum();
        // The position table is cut to size on its way; nobody asks the last block's text with a query of its own.
        let elsewhere = config.position_size * config.position_size * config.width + HEAD_DIM;
        let weights = 2 * (weights - elsewhere) as u64;
        // The VAE's decoder comes on top, to draw; it is the miniature's.
        let decoder =
            std::fs::metadata(model().join("vae/diffusion_pytorch_model.safetensors")).unwrap().len();
        let planned = plan["memory"]["weights"].as_u64().unwrap();
        assert!((weights..weights + decoder).contains(&planned), "{planned} instead of {weights}");
        let others = plan["alternatives"].as_array().unwrap();
        assert!(others.iter().all(|other| other["fits"].is_boolean()));
    }
}
