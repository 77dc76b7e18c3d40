//! One adapter, written in each tool's form and read back: the merged change of the weights must be the same.

use super::*;
use crate::error::{Error, ErrorKind};
use crate::models::adapter::{AdapterModule, Change, Matrix};
use safetensors::tensor::{Dtype, TensorView};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

type Tensors = Vec<(String, Vec<usize>, Vec<f32>)>;

/// Rank 4, alpha 2.
const RANK: usize = 4;
const SCALE: f64 = 0.5;
const WIDTH: usize = 8;

/// A pair.
#[derive(Debug, Clone)]
struct LoraModule {
    module: String,
    rank: usize,
    a: Vec<f32>,
    b: Vec<f32>,
    scale: f64,
}

impl LoraModule {
    fn in_features(&self) -> usize {
        self.a.len() / self.rank
    }

    fn out_features(&self) -> usize {
        self.b.len() / self.rank
    }

    fn general(&self) -> AdapterModule {
        let (rows, columns) = (self.rank, self.in_features());
        let a = Matrix { rows, columns, values: self.a.clone() };
        let b = Matrix { rows: self.out_features(), columns: self.rank, values: self.b.clone() };
        let change = Change::LowRank { a, b, scale: self.scale };
        AdapterModule { module: self.module.clone(), change, magnitude: None }
    }

    fn of(module: AdapterModule) -> Self {
        let AdapterModule { module, change: Change::LowRank { a, b, scale }, magnitude: None } = module
        else {
            panic!("not a pair: {module:?}");
        };
        Self { module, rank: a.rows, a: a.values, b: b.values, scale }
    }
}

fn read_lora(path: &Path) -> crate::error::Result<Vec<LoraModule>> {
    Ok(read_adapters(path)?.into_iter().map(LoraModule::of).collect())
}

fn write_lora(
    path: &Path,
    modules: &[LoraModule],
    dtype: SaveDtype,
    about: &Value,
) -> crate::error::Result<()> {
    let modules: Vec<_> = modules.iter().map(LoraModule::general).collect();
    write_adapters(path, &modules, dtype, about)
}

fn values(count: usize, salt: usize) -> Vec<f32> {
    (0..count).map(|i| ((i * 37 + salt * 101) % 64) as f32 / 32.0 - 1.0).collect()
}

fn module(name: &str, out_features: usize, salt: usize) -> LoraModule {
    LoraModule {
        module: name.to_owned(),
        rank: RANK,
        a: values(RANK * WIDTH, salt),
        b: values(out_features * RANK, salt + 7),
        scale: SCALE,
    }
}

/// `scale * B * A`, row by row.
fn merged(module: &LoraModule) -> Vec<f64> {
    let (rank, width) = (module.rank, module.in_features());
    let entry = |row: usize, column: usize| {
        (0..rank)
            .map(|k| f64::from(module.b[row * rank + k]) * f64::from(module.a[k * width + column]))
            .sum::<f64>()
    };
    let rows = 0..module.out_features();
    rows.flat_map(|row| (0..width).map(move |column| module.scale * entry(row, column))).collect()
}

fn assert_same_change(read: &[LoraModule], expected: &[LoraModule]) {
    assert_eq!(read.len(), expected.len());
    for expected in expected {
        let found = read.iter().find(|module| module.module == expected.module).unwrap();
        assert_eq!(merged(found), merged(expected), "{}", expected.module);
    }
}

/// The bytes of `modules` as they are written.
fn lora_bytes(modules: &[LoraModule], dtype: SaveDtype, settings: &Value) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lora.safetensors");
    write_lora(&path, modules, dtype, settings).unwrap();
    std::fs::read(path).unwrap()
}

fn save(folder: &tempfile::TempDir, tensors: &Tensors, metadata: Option<&str>) -> PathBuf {
    let path = folder.path().join("lora.safetensors");
    let metadata =
        metadata.map(|text| HashMap::from([("lora_adapter_metadata".to_owned(), text.to_owned())]));
    let data = tensors.iter().map(|(name, shape, values)| {
        let bytes: &[u8] = bytemuck::cast_slice(values);
        (name.as_str(), TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap())
    });
    safetensors::serialize_to_file(data, metadata, &path).unwrap();
    path
}

/// The pair of `module` under `name` with these suffixes, B as given.
fn pair(name: &str, suffixes: [&str; 2], module: &LoraModule, b: Vec<f32>) -> Tensors {
    let rows = b.len() / module.rank;
    vec![
        (format!("{name}{}", suffixes[0]), vec![module.rank, module.in_features()], module.a.clone()),
        (format!("{name}{}", suffixes[1]), vec![rows, module.rank], b),
    ]
}

fn alpha(name: &str) -> Tensors {
    vec![(format!("{name}.alpha"), vec![], vec![(SCALE * RANK as f64) as f32])]
}

fn two_modules() -> Vec<LoraModule> {
    vec![
        module("transformer_blocks.0.attn.to_q", WIDTH, 1),
        module("transformer_blocks.1.ff.net.0.proj", 32, 2),
    ]
}

fn read_back(tensors: &Tensors, metadata: Option<&str>) -> crate::error::Result<Vec<LoraModule>> {
    let folder = tempfile::tempdir().unwrap();
    read_lora(&save(&folder, tensors, metadata))
}

#[test]
fn our_own_form_keeps_the_change_with_alpha_folded_in() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pytorch_lora_weights.safetensors");
    for dtype in [SaveDtype::F32, SaveDtype::Bf16] {
        write_lora(&path, &two_modules(), dtype, &json!({ "rank": 4 })).unwrap();
        let read = read_lora(&path).unwrap();
        assert!(read.iter().all(|module| module.scale == 1.0));
        assert_same_change(&read, &two_modules());
    }
}

#[test]
fn the_header_holds_format_and_settings_and_every_key_says_lora() {
    let bytes = lora_bytes(&two_modules(), SaveDtype::Bf16, &json!({ "rank": 4, "alpha": 2.0 }));
    let (_, header) = safetensors::SafeTensors::read_metadata(&bytes).unwrap();
    let expected = [("format", "pt"), ("sargent", r#"{"rank":4,"alpha":2.0}"#)];
    let expected = HashMap::from(expected.map(|(key, value)| (key.to_owned(), value.to_owned())));
    assert_eq!(header.metadata().as_ref().unwrap(), &expected);
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    assert!(file.names().iter().all(|name| name.starts_with("transformer.") && name.ends_with(".weight")));
    assert_eq!(
        file.tensor("transformer.transformer_blocks.1.ff.net.0.proj.lora_B.weight").unwrap().shape(),
        [32, 4]
    );
}

#[test]
fn the_bytes_do_not_depend_on_the_order_of_modules() {
    let mut reversed = two_modules();
    reversed.reverse();
    let bytes = |modules: &[LoraModule]| lora_bytes(modules, SaveDtype::Bf16, &json!({}));
    assert_eq!(bytes(&two_modules()), bytes(&reversed));
}

#[test]
fn peft_metadata_gives_the_scale_and_its_absence_means_one() {
    let modules = two_modules();
    let tensors: Tensors = modules
        .iter()
        .flat_map(|module| {
            let name = format!("transformer.{}", module.module);
            pair(&name, [".lora_A.weight", ".lora_B.weight"], module, module.b.clone())
        })
        .collect();
    let plain = json!({ "transformer.r": 4, "transformer.lora_alpha": 2 }).to_string();
    assert_same_change(&read_back(&tensors, Some(&plain)).unwrap(), &modules);
    assert!(read_back(&tensors, None).unwrap().iter().all(|module| module.scale == 1.0));

    let patterns = json!({ "transformer.r": 16, "transformer.lora_alpha": 2,
        "transformer.rank_pattern": { "to_q": 4, "ff.net.0.proj": 4 },
        "transformer.alpha_pattern": { "attn.to_q": 8, "o_q": 99 } });
    let read = read_back(&tensors, Some(&patterns.to_string())).unwrap();
    assert_eq!(read.iter().map(|module| module.scale).collect::<Vec<_>>(), [2.0, 0.5]);

    let rooted = json!({ "transformer.r": 4, "transformer.lora_alpha": 2, "transformer.use_rslora": true });
    assert_eq!(read_back(&tensors, Some(&rooted.to_string())).unwrap()[0].scale, 1.0);
}

#[test]
fn alpha_tensors_give_the_scale_under_older_names() {
    for suffixes in [[".lora.down.weight", ".lora.up.weight"], [".lora_down.weight", ".lora_up.weight"]] {
        let modules = two_modules();
        let mut tensors = Tensors::new();
        for module in &modules {
            let name = format!("transformer.{}", module.module);
            tensors.extend(pair(&name, suffixes, module, module.b.clone()));
            tensors.extend(alpha(&name));
        }
        assert_same_change(&read_back(&tensors, None).unwrap(), &modules);
    }
}

#[test]
fn fused_projections_are_split_by_rows() {
    let parts =
        ["to_q", "to_k", "to_v"].map(|part| module(&format!("transformer_blocks.3.attn.{part}"), WIDTH, 5));
    let mut parts = parts.to_vec();
    parts.iter_mut().enumerate().for_each(|(i, part)| part.b = values(WIDTH * RANK, 20 + i));
    let fused: Vec<f32> = parts.iter().flat_map(|part| part.b.clone()).collect();
    let name = "lora_unet_joint_blocks_3_x_block_attn_qkv";
    let mut tensors = pair(name, [".lora_down.weight", ".lora_up.weight"], &parts[0], fused);
    tensors.extend(alpha(name));
    assert_same_change(&read_back(&tensors, None).unwrap(), &parts);
}

#[test]
fn the_two_final_modulations_of_a_single_file_trade_halves() {
    for (name, ours, swapped) in [
        ("final_layer_adaLN_modulation_1", "norm_out.linear", true),
        (
            "joint_blocks_9_context_block_adaLN_modulation_1",
            "transformer_blocks.9.norm1_context.linear",
            true,
        ),
        ("joint_blocks_9_x_block_mlp_fc2", "transformer_blocks.9.ff.net.2", false),
    ] {
        let expected = module(ours, 2 * WIDTH, 3);
        let mut b = expected.b.clone();
        if swapped {
            b.rotate_left(WIDTH * RANK);
        }
        let name = format!("lora_unet_{name}");
        let mut tensors = pair(&name, [".lora_down.weight", ".lora_up.weight"], &expected, b);
        tensors.extend(alpha(&name));
        assert_same_change(&read_back(&tensors, None).unwrap(), &[expected]);
    }
}

#[test]
fn the_golden_adapter_reads_with_its_scale() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/golden/lora_training");
    let modules = read_lora(&folder.join("pytorch_lora_weights.safetensors")).unwrap();
    assert_eq!(modules.len(), 23);
    assert!(modules.iter().all(|module| module.scale == 2.0 && module.rank == 4));
    assert!(modules.iter().all(|module| module.in_features() == 128 && module.out_features() == 128));
}

fn refused(tensors: &Tensors, metadata: Option<&str>) -> Error {
    let error = read_back(tensors, metadata).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Weights);
    error
}

#[test]
fn files_that_are_no_lora_for_this_model_are_refused() {
    let weight =
        |name: &str, shape: Vec<usize>| (name.to_owned(), shape.clone(), values(shape.iter().product(), 0));
    assert!(
        refused(&vec![weight("transformer_blocks.0.attn.to_q.weight", vec![8, 8])], None)
            .cause
            .contains("not a LoRA")
    );

    let unknown = module("", WIDTH, 0);
    let names = (0..7).map(|i| format!("lora_unet_down_blocks_{i}_attentions_0_proj_in"));
    let pairs = names
        .flat_map(|name| pair(&name, [".lora_down.weight", ".lora_up.weight"], &unknown, unknown.b.clone()));
    let error = refused(&pairs.collect(), None);
    assert!(error.cause.contains("down_blocks_0") && error.cause.contains("and 2 more"), "{error}");

    let q = "transformer.transformer_blocks.0.attn.to_q";
    let mut dora = pair(q, [".lora_A.weight", ".lora_B.weight"], &unknown, unknown.b.clone());
    dora.push(weight(&format!("{q}.lora_magnitude_vector"), vec![8]));
    assert!(refused(&dora, None).cause.contains("DoRA"));
}

#[test]
fn broken_pairs_are_refused_by_name() {
    let q = "transformer.transformer_blocks.0.attn.to_q";
    let good = module("transformer_blocks.0.attn.to_q", WIDTH, 0);
    let pair = || pair(q, [".lora_A.weight", ".lora_B.weight"], &good, good.b.clone());

    let mut half = pair();
    half.pop();
    assert!(refused(&half, None).cause.contains("lacks its lora_B"));

    let mut ranks = pair();
    ranks[1].1 = vec![RANK, WIDTH];
    assert!(refused(&ranks, None).place.contains("to_q.lora_B.weight"));

    let mut flat = pair();
    flat[0].1 = vec![RANK * WIDTH];
    assert!(refused(&flat, None).place.contains("to_q.lora_A.weight"));

    let mut nan = pair();
    nan[1].2[5] = f32::NAN;
    let error = refused(&nan, None);
    assert!(error.place.contains("to_q.lora_B.weight") && error.cause.contains("NaN"));

    let metadata = json!({ "transformer.r": 8, "transformer.lora_alpha": 8 }).to_string();
    assert!(refused(&pair(), Some(&metadata)).cause.contains("rank 8"));
    assert!(refused(&pair(), Some("{")).cause.contains("not JSON"));

    let mut twice = pair();
    twice.extend(
        pair().into_iter().map(|(name, shape, values)| (name.replace("transformer.", ""), shape, values)),
    );
    assert_eq!(twice[2].0, "transformer_blocks.0.attn.to_q.lora_A.weight");
    assert!(refused(&twice, None).cause.contains("two adapters"));

    let name = "lora_unet_joint_blocks_0_x_block_attn_qkv";
    let uneven = module(name, 7, 0);
    let fused = super::tests::pair(name, [".lora_down.weight", ".lora_up.weight"], &uneven, uneven.b.clone());
    assert!(refused(&fused, None).cause.contains("equal parts"));
}

#[test]
fn truncated_and_missing_files_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = save(&folder, &alpha("x"), None);
    let bytes = lora_bytes(&two_modules(), SaveDtype::F32, &json!({}));
    for length in [0, 7, 100, bytes.len() - 1] {
        std::fs::write(&path, &bytes[..length]).unwrap();
        assert!(read_lora(&path).unwrap_err().cause.contains("not a whole safetensors file"));
    }
    assert_eq!(read_lora(&folder.path().join("none")).unwrap_err().kind, ErrorKind::Files);
}

#[test]
fn weights_that_are_not_finite_are_not_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lora.safetensors");
    for bad in [f32::NAN, f32::INFINITY, f32::MAX] {
        let mut modules = two_modules();
        modules[1].b[3] = bad;
        modules[1].scale = 4.0;
        let error = write_lora(&path, &modules, SaveDtype::Bf16, &json!({})).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Training);
        assert!(error.place.contains("ff.net.0.proj.lora_B"));
        assert!(!path.exists());
    }
}

/// A file of tensors made of `values`, read in full.
fn read_all(tensors: &Tensors) -> crate::error::Result<AdapterFile> {
    let folder = tempfile::tempdir().unwrap();
    AdapterFile::read(&save(&folder, tensors, None))
}

fn tensor(name: &str, shape: &[usize], salt: usize) -> (String, Vec<usize>, Vec<f32>) {
    (name.to_owned(), shape.to_vec(), values(shape.iter().product(), salt))
}

#[test]
fn loha_and_lokr_are_read_with_their_scales() {
    use crate::models::adapter::Change;
    let q = "lycoris_transformer_blocks_0_attn_to_q";
    let k = "lycoris_transformer_blocks_0_attn_to_k";
    let v = "transformer.transformer_blocks.0.attn.to_v";
    let tensors = vec![
        tensor(&format!("{q}.hada_w1_a"), &[8, 2], 1),
        tensor(&format!("{q}.hada_w1_b"), &[2, 8], 2),
        tensor(&format!("{q}.hada_w2_a"), &[8, 2], 3),
        tensor(&format!("{q}.hada_w2_b"), &[2, 8], 4),
        (format!("{q}.alpha"), vec![1], vec![3.0]),
        tensor(&format!("{k}.lokr_w1"), &[2, 2], 5),
        tensor(&format!("{k}.lokr_w2_a"), &[4, 1], 6),
        tensor(&format!("{k}.lokr_w2_b"), &[1, 4], 7),
        (format!("{k}.alpha"), vec![], vec![0.5]),
        // Whole factors: the scale is 1 whatever alpha says.
        tensor(&format!("{v}.lokr_w1"), &[2, 2], 8),
        tensor(&format!("{v}.lokr_w2"), &[4, 4], 9),
        (format!("{v}.alpha"), vec![], vec![10000.0]),
        tensor(&format!("{v}.dora_scale"), &[8, 1], 10),
    ];
    let file = read_all(&tensors).unwrap();
    let scale = |module: &str| {
        let found = file.modules.iter().find(|found| found.module.ends_with(module)).unwrap();
        weight_change::scale(&found.change)
    };
    assert_eq!((scale("to_q"), scale("to_k"), scale("to_v")), (1.5, 0.5, 1.0));
    assert!(matches!(&file.modules[2].change, Change::Kronecker { .. }));
    assert_eq!(file.modules[2].magnitude.as_ref().unwrap().len(), 8);
}

#[test]
fn block_diagonal_pairs_come_apart_with_the_rank_of_each() {
    let parts = ["to_q", "to_k", "to_v"];
    let name = "lora_unet_joint_blocks_0_x_block_attn_qkv";
    let modules: Vec<LoraModule> = parts
        .iter()
        .map(|part| module(&format!("transformer_blocks.0.attn.{part}"), WIDTH, part.len() + 40))
        .collect();
    let down: Vec<f32> = modules.iter().flat_map(|module| module.a.clone()).collect();
    let mut up = vec![0.0; 3 * WIDTH * 3 * RANK];
    for (part, module) in modules.iter().enumerate() {
        for row in 0..WIDTH {
            let at = (part * WIDTH + row) * 3 * RANK + part * RANK;
            up[at..at + RANK].copy_from_slice(&module.b[row * RANK..][..RANK]);
        }
    }
    let tensors = vec![
        (format!("{name}.lora_down.weight"), vec![3 * RANK, WIDTH], down),
        (format!("{name}.lora_up.weight"), vec![3 * WIDTH, 3 * RANK], up),
        (format!("{name}.alpha"), vec![], vec![(3.0 * SCALE * RANK as f64) as f32]),
    ];
    let read = read_back(&tensors, None).unwrap();
    assert!(read.iter().all(|module| module.rank == RANK));
    assert_same_change(&read, &modules);
}

#[test]
fn kohyas_split_qkv_is_told_and_can_be_restored() {
    let folder = tempfile::tempdir().unwrap();
    let name = "lora_unet_joint_blocks_0_x_block_attn_qkv";
    let other = "lora_unet_joint_blocks_0_x_block_attn_proj";
    let mut tensors = vec![
        tensor(&format!("{name}.lora_down.weight"), &[6, 8], 1),
        tensor(&format!("{name}.lora_up.weight"), &[24, 6], 2),
        (format!("{name}.alpha"), vec![], vec![2.0]),
    ];
    tensors.extend([
        tensor(&format!("{other}.lora_down.weight"), &[2, 8], 1),
        tensor(&format!("{other}.lora_up.weight"), &[8, 2], 2),
        (format!("{other}.alpha"), vec![], vec![2.0]),
    ]);
    let path = save(&folder, &tensors, None);
    assert!(!AdapterFile::read(&path).unwrap().is_split_qkv());
    let views = tensors.iter().map(|(name, shape, values)| {
        (name.as_str(), TensorView::new(Dtype::F32, shape.clone(), bytemuck::cast_slice(values)).unwrap())
    });
    let arguments = HashMap::from([("ss_network_args".to_owned(), r#"{"split_qkv": "True"}"#.to_owned())]);
    safetensors::serialize_to_file(views, Some(arguments), &path).unwrap();
    let mut file = AdapterFile::read(&path).unwrap();
    assert!(file.is_split_qkv());
    let scales = |file: &AdapterFile| -> Vec<f64> {
        file.modules.iter().map(|module| weight_change::scale(&module.change)).collect()
    };
    assert_eq!(scales(&file), [1.0 / 3.0, 1.0, 1.0 / 3.0, 1.0 / 3.0]);
    file.restore_split_qkv();
    assert_eq!(scales(&file), [1.0; 4]);
}

#[test]
fn text_encoders_are_kept_apart_and_alone_they_are_no_lora_of_the_transformer() {
    let te = "lora_te1_text_model_encoder_layers_0_mlp_fc1";
    let mut tensors = vec![
        tensor(&format!("{te}.lora_down.weight"), &[2, 8], 1),
        tensor(&format!("{te}.lora_up.weight"), &[8, 2], 2),
    ];
    let alone = read_all(&tensors).unwrap();
    assert_eq!(alone.text_encoders["CLIP-L"].len(), 2);
    assert!(alone.require_whole().unwrap_err().cause.contains("CLIP-L"));
    let good = module("transformer_blocks.0.attn.to_q", WIDTH, 0);
    let q = "transformer.transformer_blocks.0.attn.to_q";
    tensors.extend(pair(q, [".lora_A.weight", ".lora_B.weight"], &good, good.b.clone()));
    assert_eq!(read_all(&tensors).unwrap().require_whole().unwrap().modules.len(), 1);
}

#[test]
fn mixed_and_unsupported_kinds_are_refused_with_the_reason() {
    let q = "transformer.transformer_blocks.0.attn.to_q";
    let good = module("transformer_blocks.0.attn.to_q", WIDTH, 0);
    let pair = || pair(q, [".lora_A.weight", ".lora_B.weight"], &good, good.b.clone());
    let refused = |extra: Vec<(String, Vec<usize>, Vec<f32>)>| {
        let mut tensors = pair();
        tensors.extend(extra);
        read_all(&tensors).unwrap_err().cause
    };
    assert!(refused(vec![tensor(&format!("{q}.lokr_w1"), &[2, 2], 1)]).contains("mixes"));
    assert!(refused(vec![tensor(&format!("{q}.lora_mid.weight"), &[4, 4, 3, 3], 1)]).contains("Tucker"));
    assert!(refused(vec![tensor(&format!("{q}.diff"), &[8, 8], 1)]).contains("whole difference"));
    assert!(refused(vec![tensor(&format!("{q}.dora_scale"), &[1, 8], 1)]).contains("input axis"));
    assert!(refused(vec![tensor(&format!("{q}.dora_scale"), &[3, 1], 1)]).contains("8 magnitudes"));
    assert!(refused(vec![tensor(&format!("{q}.lora_down.weight"), &[4, 8], 1)]).contains("twice"));
    let lone = vec![(format!("{q}.alpha"), vec![], vec![1.0])];
    assert!(read_all(&lone).unwrap_err().cause.contains("not a LoRA"));
}

#[test]
fn inspect_tells_what_is_in_a_file_and_warns_of_what_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let modules = two_modules();
    let mut tensors: Tensors = modules
        .iter()
        .flat_map(|module| {
            let name = format!("transformer.{}", module.module);
            let mut all = pair(&name, [".lora_A.weight", ".lora_B.weight"], module, module.b.clone());
            all.extend(alpha(&name));
            all
        })
        .collect();
    tensors.push(("something.else".to_owned(), vec![1], vec![0.0]));
    let found = inspect(&save(&folder, &tensors, None), None).unwrap();
    assert_eq!((found.modules.len(), found.parameters), (2, 4 * 8 * 2 + 4 * 8 + 4 * 32));
    for (module, expected) in found.modules.iter().zip(&modules) {
        assert_eq!((module.rank, module.alpha, module.scale), (Some(RANK), 2.0, SCALE));
        let norm = merged(expected).iter().map(|value| value * value).sum::<f64>().sqrt();
        assert!((module.delta_norm - norm).abs() < 1e-9 * norm);
    }
    assert!((found.modules.iter().map(|module| module.share).sum::<f64>() - 1.0).abs() < 1e-12);
    assert_eq!(found.unknown, ["something.else"]);
    assert!(found.warnings.iter().any(|warning| warning.contains("something.else")));
    let diffusers = found.readers.iter().find(|reader| reader.reader == "diffusers").unwrap();
    assert!(diffusers.refusal.as_ref().unwrap().contains("lora"));

    tensors[0].2[3] = f32::NAN;
    let found = inspect(&save(&folder, &tensors, None), None).unwrap();
    assert!(found.warnings.iter().any(|warning| warning.contains("NaN")));
}

/// Files that diffusers and PEFT saved, and the weights before and after PEFT merged them: `tests/fixtures/adapters`.
#[test]
fn files_of_diffusers_and_peft_do_what_peft_makes_of_them() {
    use weight_change::{RowNorm, WeightChange, changed_rows};
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/adapters");
    for (name, file) in [
        ("patterns_rslora", "patterns_rslora.safetensors"),
        ("dora", "dora.safetensors"),
        ("loha", "loha/adapter_model.safetensors"),
        ("lokr", "lokr/adapter_model.safetensors"),
    ] {
        let adapter = AdapterFile::read(&folder.join(file)).unwrap().require_whole().unwrap();
        let weights = folder.join(format!("{name}.weights.safetensors"));
        let weights = crate::weights::TensorFile::open(&weights).unwrap();
        let read = |module: &str, when: &str| -> Vec<f64> {
            let values = weights.read_f32(&format!("{module}.{when}")).unwrap();
            values.into_iter().map(f64::from).collect()
        };
        assert_eq!(2 * adapter.modules.len(), weights.names().count(), "{name}");
        for module in &adapter.modules {
            let change = WeightChange::new(&module.change);
            let (before, after) = (read(&module.module, "before"), read(&module.module, "after"));
            let delta = change.delta(0..change.rows());
            let magnitude = module.magnitude.as_deref().map(|magnitude| (magnitude, RowNorm::Changed));
            let found = changed_rows(&before, &delta, change.columns(), magnitude);
            let largest = after.iter().zip(&before).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
            for (found, after) in found.iter().zip(&after) {
                // What is stored is rounded to f32.
                let allowed = 1e-6 * largest + after.abs() * 2.0_f64.powi(-24);
                assert!((found - after).abs() <= allowed, "{name} {}: {found} {after}", module.module);
            }
        }
    }
}
