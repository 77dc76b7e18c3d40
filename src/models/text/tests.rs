//! The encoders against golden outputs of transformers and diffusers, and one test for each known mistake.

mod golden;
mod memory;
mod miniature;
mod mistakes;

use super::*;
use crate::autograd::{Engine, Persistent};
use crate::device::cpu::Cpu;
use crate::error::Result;
use crate::weights::{TensorBytes, TensorFile, TextEncoder, WeightMap, open_text_encoder, write_tensors};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn golden_case() -> PathBuf {
    root().join("tests/fixtures/golden/text")
}

/// The folder of an encoder in the golden case.
fn folder_of(which: TextEncoder) -> PathBuf {
    golden_case().join(match which {
        TextEncoder::ClipL => "text_encoder",
        TextEncoder::ClipG => "text_encoder_2",
        TextEncoder::T5 => "text_encoder_3",
    })
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn config_of(which: TextEncoder) -> Value {
    json(&folder_of(which).join("config.json"))
}

/// A config of the golden case with one value changed.
fn config_with(which: TextEncoder, key: &str, value: impl Into<Value>) -> Value {
    let mut config = config_of(which);
    config[key] = value.into();
    config
}

fn weights_of(which: TextEncoder) -> WeightMap {
    open_text_encoder(&folder_of(which), which).unwrap()
}

/// The weights of the golden case after `edit` of each tensor, by name.
fn edited(which: TextEncoder, edit: impl Fn(&str, &mut Vec<f32>)) -> WeightMap {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let file = TensorFile::open(&folder_of(which).join("model.safetensors")).unwrap();
    let tensors: Vec<_> = file
        .names()
        .map(|name| {
            let mut values = file.read_f32(name).unwrap();
            edit(name, &mut values);
            (name, values)
        })
        .collect();
    let tensors: Vec<_> = tensors
        .iter()
        .map(|(name, values)| TensorBytes::f32(*name, file.view(name).unwrap().shape, values))
        .collect();
    write_tensors(&path, &tensors, &BTreeMap::new()).unwrap();
    open_text_encoder(&path, which).unwrap()
}

fn engine() -> Engine {
    Engine::new(Cpu::new(), 0, Persistent::new(0)).unwrap()
}

fn role_of(which: TextEncoder) -> ClipRole {
    if which == TextEncoder::ClipL { ClipRole::L } else { ClipRole::G }
}

fn golden_clip(which: TextEncoder) -> ClipEncoder {
    ClipEncoder::open(&weights_of(which), Some(&config_of(which)), role_of(which)).unwrap()
}

fn golden_t5() -> T5Encoder {
    T5Encoder::open(&weights_of(TextEncoder::T5), Some(&config_of(TextEncoder::T5))).unwrap()
}

/// The ids under `name` in the golden case, text by text.
fn golden_ids(name: &str) -> Vec<Vec<i32>> {
    let file = TensorFile::open(&golden_case().join("inputs.safetensors")).unwrap();
    let length = *file.view(name).unwrap().shape.last().unwrap();
    let ids: Vec<i32> = file.read_i64(name).unwrap().iter().map(|id| *id as i32).collect();
    ids.chunks(length).map(<[i32]>::to_vec).collect()
}

fn texts(ids: &[Vec<i32>]) -> Vec<&[i32]> {
    ids.iter().map(Vec::as_slice).collect()
}

/// ||a - b|| / ||b||.
fn distance(a: &[f32], b: &[f32]) -> f64 {
    assert_eq!(a.len(), b.len());
    let square = |difference: f64| difference * difference;
    let apart: f64 = a.iter().zip(b).map(|(a, b)| square(f64::from(*a) - f64::from(*b))).sum();
    let norm: f64 = b.iter().map(|b| square(f64::from(*b))).sum();
    (apart / norm).sqrt()
}

fn assert_refused<T: std::fmt::Debug>(result: Result<T>, says: &[&str]) {
    let error = result.unwrap_err();
    assert!(!error.cause.contains('\n') && !error.hint.is_empty(), "{error}");
    says.iter().for_each(|part| assert!(error.to_string().contains(part), "{error} should say {part}"));
}
