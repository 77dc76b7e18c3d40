//! `export` and `inspect` on a LoRA that diffusers wrote, and on what a run leaves.

use super::workshop::{Workshop, model};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Rank 4, alpha 8, for 23 layers of the miniature's width; written by diffusers with its metadata.
fn golden() -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/golden/lora_training");
    folder.join("pytorch_lora_weights.safetensors")
}

fn sargent(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_sargent")).args(arguments).output().unwrap()
}

fn shown(arguments: &[&str]) -> String {
    let output = sargent(arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn refused(arguments: &[&str]) -> String {
    let output = sargent(arguments);
    assert_eq!(output.status.code(), Some(2), "{arguments:?}");
    String::from_utf8(output.stderr).unwrap()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn inspected(path: &Path) -> Value {
    serde_json::from_str(&shown(&["inspect", text(path), "--json"])).unwrap()
}

/// The norm of every module's change.
fn changes(path: &Path) -> Vec<(String, f64)> {
    let report = inspected(path);
    let modules = report["modules"].as_array().unwrap().iter();
    modules.map(|m| (m["module"].as_str().unwrap().to_owned(), m["delta_norm"].as_f64().unwrap())).collect()
}

#[test]
fn every_form_is_proven_and_holds_the_same_changes() {
    let folder = tempfile::tempdir().unwrap();
    for form in ["peft", "kohya", "comfyui", "lycoris"] {
        let out = folder.path().join(format!("{form}.safetensors"));
        let table = shown(&["export", text(&golden()), "--to", form, "--out", text(&out)]);
        assert!(table.contains("23/23") && table.contains("the same change"), "{table}");
        assert!(!table.contains("NOT"), "{table}");
        let (before, after) = (changes(&golden()), changes(&out));
        assert_eq!(before.len(), after.len());
        for ((name, before), (same, after)) in before.iter().zip(&after) {
            assert_eq!(name, same);
            assert!((before - after).abs() <= 1e-6 * before, "{form} {name}: {before} {after}");
        }
    }
    let json = shown(&[
        "export",
        text(&golden()),
        "--to",
        "peft",
        "--out",
        text(&folder.path().join("a")),
        "--json",
    ]);
    let report: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(report["written"]["modules"], 23);
    assert!(report["written"]["readers"].as_array().unwrap().iter().any(|reader| reader["holds"] == true));
}

#[test]
fn inspect_says_who_made_a_file_and_how_readers_take_it() {
    let report = shown(&["inspect", text(&golden()), "--model", text(&model())]);
    assert!(report.contains("diffusers or SimpleTuner"), "{report}");
    assert!(report.contains("transformer_blocks.0.attn.to_q") && report.contains("lora_adapter_metadata"));
    // alpha is twice the rank, in metadata that ComfyUI does not read.
    assert!(report.contains("warning: ComfyUI: applies it at strength 0.500"), "{report}");
}

#[test]
fn a_merged_model_is_a_model_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("merged");
    let (lora, base) = (golden(), model());
    let arguments =
        ["export", text(&lora), "--merge-into", text(&base), "--out", text(&out), "--strength", "0.5"];
    assert!(shown(&arguments).contains("23 layers merged"));
    assert!(refused(&arguments).contains("is there already"));
    // Its own LoRA fits it as it fits the model.
    shown(&["inspect", text(&golden()), "--model", text(&out)]);
}

#[test]
fn what_cannot_be_done_is_said_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    assert!(refused(&["export", text(&golden()), "--merge-into", text(&model())]).contains("--out"));
    assert!(refused(&["export", "none.safetensors", "--to", "peft"]).contains("no such file"));
    std::fs::write(at("short"), &std::fs::read(golden()).unwrap()[..5000]).unwrap();
    assert!(
        refused(&["export", text(&at("short")), "--to", "kohya"]).contains("not a whole safetensors file")
    );
    assert!(refused(&["inspect", text(&at("short"))]).contains("not a whole safetensors file"));
    let weights = model().join("transformer/diffusion_pytorch_model.safetensors");
    assert!(refused(&["inspect", text(&weights)]).contains("not a LoRA"));
    std::fs::copy(golden(), at("a.safetensors")).unwrap();
    let copy = at("a.safetensors");
    assert!(
        refused(&["export", text(&copy), "--to", "peft", "--out", text(&copy)]).contains("its own source")
    );
    assert!(refused(&["export", text(&golden()), "--to", "kohya", "--alpha", "metadata"]).contains("header"));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
}

#[test]
fn a_run_reads_its_own_lora_back() {
    let said = Workshop::new().trained(&[]);
    assert!(said.contains("as trained (within") && said.contains("ComfyUI"), "{said}");
    assert!(!said.contains("NOT as trained"), "{said}");
}
