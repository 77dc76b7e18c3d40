//! Pictures: `sample`, validation, and the demo.

use super::workshop::{Ended, Workshop, files, model, sargent};
use std::path::Path;
use std::process::Command;

const PROMPT: &str = "k4s4, a red star";

/// `sargent sample` with settings under which it takes a moment.
fn sample(out: &Path, more: &[&str]) -> Ended {
    let mut sample = sargent();
    sample.args(["sample", "--prompt", PROMPT, "--width", "64", "--height", "80"]);
    sample.args(["--set", "tokenizer_max_length=77", "--model"]).arg(model());
    for usual in [["--seed", "7"], ["--steps", "4"]] {
        if !more.contains(&usual[0]) {
            sample.args(usual);
        }
    }
    Ended::of(sample.args(more).arg("--out").arg(out))
}

fn drawn(out: &Path, more: &[&str]) -> image::RgbImage {
    let ended = sample(out, more).succeeded();
    assert_eq!(ended.stdout.trim(), out.to_str().unwrap());
    image::open(out).unwrap().to_rgb8()
}

/// The PNG's text chunks by keyword.
fn text(path: &Path) -> Vec<(String, String)> {
    let decoder = png::Decoder::new(std::io::BufReader::new(std::fs::File::open(path).unwrap()));
    let info = decoder.read_info().unwrap();
    let latin = info.info().uncompressed_latin1_text.iter().map(|t| (t.keyword.clone(), t.text.clone()));
    let utf8 = info.info().utf8_text.iter().map(|t| (t.keyword.clone(), t.get_text().unwrap()));
    latin.chain(utf8).collect()
}

#[test]
fn the_same_seed_draws_the_same_bytes() {
    let workshop = Workshop::new();
    let [a, b, c] = ["a.png", "b.png", "new/c.png"].map(|name| workshop.path(name));
    drawn(&a, &[]);
    drawn(&b, &[]);
    assert!(std::fs::read(&a).unwrap() == std::fs::read(&b).unwrap());
    assert_eq!(image::image_dimensions(&a).unwrap(), (64, 80));
    assert_ne!(drawn(&c, &["--seed", "8"]), drawn(&a, &[]));
}

#[test]
fn a_picture_carries_its_settings() {
    let workshop = Workshop::new();
    let path = workshop.path("a.png");
    drawn(&path, &["--negative", "grey", "--guidance", "2.5"]);
    let all: Vec<String> = text(&path).into_iter().map(|(key, value)| format!("{key}: {value}")).collect();
    let all = all.join("\n");
    for part in [PROMPT, "grey", "Steps: 4", "Seed: 7", "CFG scale: 2.5", "Size: 64x80"] {
        assert!(all.contains(part), "{part} is not in {all}");
    }
}

#[test]
fn a_lora_of_weight_zero_changes_nothing_and_one_of_weight_one_does() {
    let workshop = Workshop::new();
    workshop.trained(&["max_train_steps=6", "learning_rate=1e-2"]);
    let lora = workshop.output().join("pytorch_lora_weights.safetensors");
    let path = workshop.path("a.png");
    let with = |weight: &str| drawn(&path, &["--lora", &format!("{}{weight}", lora.display())]);
    let without = drawn(&path, &[]);
    assert_eq!(with(":0"), without);
    assert_ne!(with(""), without);
    assert_eq!(with(":1"), with(""));
    sample(&path, &["--lora", workshop.path("data.json").to_str().unwrap()]).refused(&["data.json"]);
}

#[test]
fn sampling_with_the_exported_lora_draws_the_last_validation_picture() {
    for (averaged, guidance) in [("use_ema=false", "3"), ("use_ema=true", "1")] {
        let workshop = Workshop::new();
        let prompt = format!("validation_prompt={PROMPT}");
        let drawing =
            [&prompt, "validation_resolution=64x80", "validation_num_inference_steps=4", "validation_seed=7"];
        let guided = format!("validation_guidance={guidance}");
        let set =
            ["max_train_steps=6", "learning_rate=1e-2", "save_dtype=fp32", "lora_alpha=8", averaged, &guided];
        workshop.trained(&[&drawing[..], &set].concat());
        let lora = workshop.output().join("pytorch_lora_weights.safetensors");
        let with = ["--guidance", guidance, "--lora", lora.to_str().unwrap()];
        let sampled = drawn(&workshop.path("a.png"), &with);
        let last = workshop.output().join("validation/step-000006/validation_64x80.png");
        let validated = image::open(&last).unwrap().to_rgb8();
        let apart = sampled.iter().zip(validated.iter()).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
        assert!(apart <= 1, "{apart} levels apart");
        assert!(text(&last).iter().any(|(_, value)| value.contains(PROMPT)));
        let first =
            image::open(workshop.output().join("validation/step-000000/validation_64x80.png")).unwrap();
        assert_eq!(first.to_rgb8(), drawn(&workshop.path("a.png"), &["--guidance", guidance]));
    }
}

#[test]
fn skip_layer_guidance_draws_what_diffusers_draws() {
    let workshop = Workshop::new();
    let path = workshop.path("a.png");
    let set = |key: &str, value: &str| ["--set".to_owned(), format!("validation_guidance{key}={value}")];
    let skipping = [set("_skip_layers", "[1, 2]"), set("_skip_layers_stop", "0.4")].concat();
    let draw = |guidance: &[String]| {
        let usual = ["--guidance", "4", "--steps", "10"];
        let all: Vec<&str> = usual.into_iter().chain(guidance.iter().map(String::as_str)).collect();
        drawn(&path, &all)
    };
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/drawn/skip_layers.png");
    let expected = image::open(fixture).unwrap().to_rgb8();
    let apart = |a: &image::RgbImage, b: &image::RgbImage| {
        a.iter().zip(b.iter()).map(|(a, b)| a.abs_diff(*b)).max().unwrap()
    };
    assert!(apart(&draw(&skipping), &expected) <= 1);
    let plain = draw(&[]);
    assert!(apart(&plain, &expected) > 20);
    assert_eq!(draw(&[&skipping[..], &set("_skip_scale", "0")].concat()), plain);
    sample(&path, &["--set", "validation_guidance_skip_layers=99"]).refused(&["no block 99"]);
    sample(&path, &["--guidance", "1", "--set", "validation_guidance_skip_layers=1"])
        .refused(&["skip_layers"]);
}

#[test]
fn the_first_prompt_is_drawn_at_several_strengths_in_the_end() {
    let workshop = Workshop::new();
    let prompt = format!("validation_prompt={PROMPT}");
    let drawing = [&prompt, "validation_resolution=64x80", "validation_num_inference_steps=4"];
    let set = ["max_train_steps=6", "learning_rate=1e-2", "validation_strengths=0,0.5,1"];
    workshop.trained(&[&drawing[..], &set].concat());
    let folder = |step: &str| workshop.output().join("validation").join(step);
    let read = |path: std::path::PathBuf| image::open(path).unwrap().to_rgb8();
    let at = |strength: &str| {
        read(folder("step-000006").join(format!("validation_64x80_strength-{strength}.png")))
    };
    assert_eq!(at("0"), read(folder("step-000000").join("validation_64x80.png")));
    assert_eq!(at("1"), read(folder("step-000006").join("validation_64x80.png")));
    assert!(at("0.5") != at("0") && at("0.5") != at("1"));
    assert!(workshop.output().join("strengths.png").exists());
}

#[test]
fn the_demo_runs_from_a_copied_program_with_nothing_around_it() {
    let workshop = Workshop::new();
    let (program, place) = (workshop.path("copied"), workshop.path("empty"));
    std::fs::copy(env!("CARGO_BIN_EXE_sargent"), &program).unwrap();
    std::fs::create_dir(&place).unwrap();
    let mut demo = Command::new(&program);
    let ended = Ended::of(demo.env_clear().current_dir(&place).args(["demo", "--steps", "5"])).succeeded();
    for part in ["before_after.png", "pytorch_lora_weights.safetensors", "config.json"] {
        assert!(ended.stdout.contains(part), "{part} is not in {}", ended.stdout);
    }
    let output = place.join("sargent-demo/output");
    for file in
        ["before_after.png", "training.png", "metrics.jsonl", "settings.json", "checkpoint-5/state.json"]
    {
        assert!(output.join(file).exists(), "{file}");
    }
    // Eight prompts before and after, the first one at five strengths.
    assert_eq!(files(&output.join("validation")).len(), 2 * 8 + 5);
}
