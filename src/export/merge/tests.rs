//! Merging into the miniature, in both layouts and several element types, against W + delta by hand.

use super::*;
use crate::export::weight_change::{RowNorm, WeightChange, changed_rows};
use crate::models::adapter::{Change, Factor, Matrix};
use crate::weights::{TensorBytes, open_mmdit, write_tensors};
use std::collections::BTreeMap;

fn miniature() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/tiny-sd35")
}

fn matrix(rows: usize, columns: usize, salt: usize) -> Matrix {
    let value = |at: usize| ((at * 37 + salt * 101) % 64) as f32 / 128.0 - 0.25;
    Matrix { rows, columns, values: (0..rows * columns).map(value).collect() }
}

fn pair(module: &str, outputs: usize, inputs: usize) -> AdapterModule {
    let change = Change::LowRank { a: matrix(2, inputs, 1), b: matrix(outputs, 2, module.len()), scale: 0.5 };
    AdapterModule { module: module.to_owned(), change, magnitude: None }
}

/// Parts of fused weights, both layers with swapped halves, and every kind.
fn modules() -> Vec<AdapterModule> {
    let w1 = Factor::Whole(matrix(8, 8, 5));
    let w2 = Factor::Product(matrix(16, 2, 6), matrix(2, 16, 7));
    let kronecker = Change::Kronecker { w1, w2, scale: 1.0 };
    let mut dora = pair("transformer_blocks.1.ff.net.2", 128, 512);
    dora.magnitude = Some((0..128).map(|row| 1.0 + row as f32 / 128.0).collect());
    vec![
        pair("transformer_blocks.0.attn.to_k", 128, 128),
        AdapterModule {
            module: "transformer_blocks.0.attn.to_v".to_owned(),
            change: kronecker,
            magnitude: None,
        },
        dora,
        pair("transformer_blocks.3.norm1_context.linear", 256, 128),
        pair("norm_out.linear", 256, 128),
    ]
}

/// The miniature's transformer as one file with the names of the single-file layout.
fn single_file(folder: &Path, dtype: DType) -> PathBuf {
    let weights = open_mmdit(&miniature().join("transformer")).unwrap();
    let tensors: Vec<TensorBytes<'_>> = weights
        .weights()
        .map(|weight| {
            let mut values = vec![0.0; weight.elements()];
            weight.read_f32(&mut values).unwrap();
            let name = format!("model.diffusion_model.{}", weight.name);
            let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>();
            match dtype {
                DType::F32 => {
                    TensorBytes { name: name.into(), dtype, shape: weight.shape.clone(), bytes: bytes.into() }
                }
                _ => TensorBytes::bf16(name, weight.shape.clone(), &values),
            }
        })
        .collect();
    let path = folder.join("single.safetensors");
    write_tensors(&path, &tensors, &BTreeMap::new()).unwrap();
    path
}

/// What the layer's weight should be.
fn expected(base: &Base, module: &AdapterModule, strength: f64) -> Vec<f64> {
    let change = WeightChange::new(&module.change);
    let weight = base.weight(&module.module).unwrap();
    let delta = change.delta(0..change.rows());
    let magnitude = module.magnitude.as_deref().map(|magnitude| (magnitude, RowNorm::Changed));
    let changed = changed_rows(&weight, &delta, change.columns(), magnitude);
    weight.iter().zip(changed).map(|(weight, changed)| weight + strength * (changed - weight)).collect()
}

fn assert_merged(before: &Base, after: &Base, strength: f64, rounding: f64) {
    let modules = modules();
    for layer in &before.layers {
        let found = after.weight(&layer.path).unwrap();
        match modules.iter().find(|module| module.module == layer.path) {
            None => assert_eq!(found, before.weight(&layer.path).unwrap(), "{}", layer.path),
            Some(module) => {
                for (found, expected) in found.iter().zip(expected(before, module, strength)) {
                    let allowed = rounding * expected.abs() + 1e-30;
                    assert!((found - expected).abs() <= allowed, "{}: {found} {expected}", layer.path);
                }
            }
        }
    }
}

#[test]
fn both_layouts_get_the_same_sums() {
    let folder = tempfile::tempdir().unwrap();
    for (dtype, rounding) in [(DType::F32, 2.0_f64.powi(-24)), (DType::Bf16, 2.0_f64.powi(-8))] {
        let base = Base::open(&single_file(folder.path(), dtype)).unwrap();
        for strength in [1.0, -0.5] {
            let out = folder.path().join(format!("{dtype}{strength}.safetensors"));
            let merged = merge(&base, Path::new("lora"), &modules(), strength, &out).unwrap();
            // to_k and to_v are one tensor there.
            assert_eq!(merged, Merged { modules: 5, tensors: 4 });
            assert_merged(&base, &Base::open(&out).unwrap(), strength, rounding);
        }
    }
    let base = Base::open(&miniature()).unwrap();
    let out = folder.path().join("model");
    let merged = merge(&base, Path::new("lora"), &modules(), 1.0, &out).unwrap();
    assert_eq!(merged, Merged { modules: 5, tensors: 5 });
    assert_merged(&base, &Base::open(&out).unwrap(), 1.0, 2.0_f64.powi(-8));
    // The rest of the folder is the same.
    for file in ["model_index.json", "vae/config.json", "text_encoder/model.safetensors"] {
        assert_eq!(std::fs::read(out.join(file)).unwrap(), std::fs::read(miniature().join(file)).unwrap());
    }
}

#[test]
fn nothing_is_overwritten_and_nothing_is_left_of_a_failure() {
    let folder = tempfile::tempdir().unwrap();
    let base = Base::open(&miniature()).unwrap();
    let at = |name: &str| folder.path().join(name);
    let fails = |modules: &[AdapterModule], out: &Path| {
        merge(&base, Path::new("lora"), modules, 1.0, out).unwrap_err()
    };
    std::fs::write(at("there"), "x").unwrap();
    assert!(fails(&modules(), &at("there")).cause.contains("is there already"));
    assert!(fails(&modules(), &at("a.safetensors")).cause.contains("cannot hold the folder"));
    assert!(fails(&modules(), &miniature().join("transformer/merged")).cause.contains("cannot hold"));
    let other = [pair("transformer_blocks.0.attn.to_k", 64, 64)];
    assert!(fails(&other, &at("new")).hint.contains("another model"));
    let mut huge = modules();
    if let Change::LowRank { scale, .. } = &mut huge[0].change {
        *scale = 1e300;
    }
    assert!(fails(&huge, &at("new")).cause.contains("does not fit"));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}
