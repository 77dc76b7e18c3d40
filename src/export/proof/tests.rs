//! The readers' rules on files whose effect is known by hand, and what the proof says of files that are wrong.

use super::*;
use crate::export::write::{self, Alpha, Request};
use crate::models::adapter::{Factor, Matrix};
use crate::models::mmdit::MmditConfig;
use crate::weights::{TensorBytes, write_tensors};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::PathBuf;
use tempfile::TempDir;

const WIDTH: usize = 64;

fn matrix(rows: usize, columns: usize, salt: usize) -> Matrix {
    let value = |at: usize| ((at * 37 + salt * 101 + at * at % 11) % 64) as f32 / 32.0 - 1.0;
    Matrix { rows, columns, values: (0..rows * columns).map(value).collect() }
}

fn pair(module: &str, outputs: usize, rank: usize, scale: f64) -> AdapterModule {
    let salt = module.bytes().map(usize::from).sum::<usize>() + rank;
    let change = Change::LowRank { a: matrix(rank, WIDTH, salt), b: matrix(outputs, rank, salt + 1), scale };
    AdapterModule { module: module.to_owned(), change, magnitude: None }
}

/// Separate ranks and alphas, a whole and a partial fusion, and both layers with swapped halves.
fn modules() -> Vec<AdapterModule> {
    vec![
        pair("transformer_blocks.0.attn.to_q", WIDTH, 4, 0.5),
        pair("transformer_blocks.0.attn.to_k", WIDTH, 4, 0.5),
        pair("transformer_blocks.0.attn.to_v", WIDTH, 4, 0.5),
        pair("transformer_blocks.0.attn.add_q_proj", WIDTH, 2, 1.5),
        pair("transformer_blocks.0.attn.add_k_proj", WIDTH, 3, 0.7),
        pair("transformer_blocks.0.attn.add_v_proj", WIDTH, 1, 1.0),
        pair("transformer_blocks.0.attn.to_out.0", WIDTH, 4, 2.0),
        pair("transformer_blocks.1.ff.net.0.proj", 4 * WIDTH, 4, 0.3),
        pair("transformer_blocks.1.norm1_context.linear", 2 * WIDTH, 4, 1.0),
        pair("norm_out.linear", 2 * WIDTH, 4, 1.0),
    ]
}

fn kronecker(module: &str, w2: Factor, scale: f64) -> AdapterModule {
    let change = Change::Kronecker { w1: Factor::Whole(matrix(8, 8, 3)), w2, scale };
    AdapterModule { module: module.to_owned(), change, magnitude: None }
}

fn hadamard(module: &str) -> AdapterModule {
    let change = Change::Hadamard {
        w1_a: matrix(WIDTH, 2, 1),
        w1_b: matrix(2, WIDTH, 2),
        w2_a: matrix(WIDTH, 2, 3),
        w2_b: matrix(2, WIDTH, 4),
        scale: 0.5,
    };
    AdapterModule { module: module.to_owned(), change, magnitude: None }
}

struct Written {
    folder: TempDir,
}

impl Written {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("lora.safetensors")
    }

    fn write(&self, modules: &[AdapterModule], form: Form, dtype: SaveDtype, alpha: Option<Alpha>) {
        let request = Request { form, dtype, alpha, about: &Value::Null, base: None };
        write::write(&self.path(), modules, &request).unwrap();
    }

    fn prove(&self, modules: &[AdapterModule], form: Form, dtype: SaveDtype) -> Vec<Verdict> {
        prove(&self.path(), modules, form, dtype, None).unwrap()
    }
}

fn verdict<'a>(verdicts: &'a [Verdict], reader: &str) -> &'a Verdict {
    verdicts.iter().find(|verdict| verdict.reader == reader).unwrap()
}

#[test]
fn every_form_does_the_same_in_the_readers_that_it_is_meant_for() {
    for form in Form::ALL {
        for dtype in [SaveDtype::F32, SaveDtype::F16, SaveDtype::Bf16] {
            let written = Written::new();
            written.write(&modules(), form, dtype, None);
            for verdict in written.prove(&modules(), form, dtype).iter().filter(|verdict| verdict.meant) {
                assert!(verdict.holds, "{form:?} {dtype:?} {verdict:?}");
                assert_eq!(verdict.matched, verdict.modules);
            }
        }
    }
}

#[test]
fn stable_diffusion_cpp_is_right_where_no_halves_are_swapped() {
    // It renames the two modulations without swapping them.
    let written = Written::new();
    written.write(&modules(), Form::Peft, SaveDtype::F32, None);
    let verdicts = written.prove(&modules(), Form::Peft, SaveDtype::F32);
    let swapped = verdict(&verdicts, "stable-diffusion.cpp");
    assert!(!swapped.holds && !swapped.meant && swapped.matched == swapped.modules);
    let modules = &modules()[..8];
    for form in [Form::Peft, Form::Comfyui, Form::Lycoris] {
        let written = Written::new();
        written.write(modules, form, SaveDtype::F32, None);
        assert!(verdict(&written.prove(modules, form, SaveDtype::F32), "stable-diffusion.cpp").holds);
    }
    // It stops at the first part of q, k, v that is missing.
    let written = Written::new();
    written.write(&modules[1..2], Form::Peft, SaveDtype::F32, None);
    let verdicts = written.prove(&modules[1..2], Form::Peft, SaveDtype::F32);
    let alone = verdict(&verdicts, "stable-diffusion.cpp");
    assert!(alone.refusal.is_some() && !alone.meant);
    assert!(verdict(&verdicts, "ComfyUI").holds && verdict(&verdicts, "diffusers").holds);
}

#[test]
fn products_of_both_kinds_load_where_they_are_known() {
    let small = Factor::Product(matrix(8, 2, 5), matrix(2, 8, 6));
    let modules = vec![
        kronecker("transformer_blocks.0.attn.to_q", Factor::Whole(matrix(8, 8, 9)), 1.7),
        kronecker("transformer_blocks.0.attn.to_k", small.clone(), 0.25),
        kronecker("transformer_blocks.0.attn.to_v", small, 1.0),
        hadamard("transformer_blocks.0.attn.to_out.0"),
    ];
    for form in [Form::Comfyui, Form::Lycoris] {
        for alpha in [Alpha::Tensor, Alpha::Folded] {
            let written = Written::new();
            written.write(&modules, form, SaveDtype::F32, Some(alpha));
            let verdicts = written.prove(&modules, form, SaveDtype::F32);
            for verdict in verdicts.iter().filter(|verdict| verdict.meant) {
                assert!(verdict.holds, "{form:?} {alpha:?} {verdict:?}");
            }
            assert!(!verdict(&verdicts, "kohya").meant && !verdict(&verdicts, "diffusers").meant);
        }
    }
    for form in [Form::Peft, Form::Kohya] {
        let written = Written::new();
        let request = Request { form, dtype: SaveDtype::F32, alpha: None, about: &Value::Null, base: None };
        let error = write::write(&written.path(), &modules, &request).unwrap_err();
        assert!(error.cause.contains("LoKr") && error.hint.contains("--resize"), "{error}");
        assert!(!written.path().exists());
    }
}

#[test]
fn metadata_gives_diffusers_the_scale_and_others_nothing() {
    let written = Written::new();
    written.write(&modules(), Form::Peft, SaveDtype::F32, Some(Alpha::Metadata));
    let verdicts = written.prove(&modules(), Form::Peft, SaveDtype::F32);
    assert!(verdict(&verdicts, "diffusers").holds && verdict(&verdicts, "PEFT").holds);
    let comfyui = verdict(&verdicts, "ComfyUI");
    assert!(!comfyui.holds);
    // Scales from 0.3 to 2 are taken as 1.
    assert!((comfyui.strength[0] - 0.5).abs() < 1e-9 && (comfyui.strength[1] - 1.0 / 0.3).abs() < 1e-6);
}

#[test]
fn magnitudes_are_known_to_diffusers_and_dropped_by_comfyui() {
    let mut modules = modules();
    for module in &mut modules {
        let rows = crate::export::weight_change::size(&module.change).0;
        module.magnitude = Some((0..rows).map(|row| 1.0 + row as f32 / 16.0).collect());
    }
    let written = Written::new();
    written.write(&modules, Form::Peft, SaveDtype::F32, None);
    let verdicts = written.prove(&modules, Form::Peft, SaveDtype::F32);
    assert!(verdict(&verdicts, "diffusers").holds && verdict(&verdicts, "PEFT").holds);
    let comfyui = verdict(&verdicts, "ComfyUI");
    assert!(!comfyui.holds && comfyui.ignored.len() == modules.len(), "{comfyui:?}");
    assert!(!verdict(&verdicts, "stable-diffusion.cpp").meant);

    written.write(&modules, Form::Lycoris, SaveDtype::F32, None);
    assert!(verdict(&written.prove(&modules, Form::Lycoris, SaveDtype::F32), "LyCORIS").holds);

    // One layer without them would become a DoRA layer in diffusers.
    modules[0].magnitude = None;
    let request =
        Request { form: Form::Peft, dtype: SaveDtype::F32, alpha: None, about: &Value::Null, base: None };
    assert!(write::write(&written.path(), &modules, &request).unwrap_err().cause.contains("DoRA layer"));
}

/// A file of one q, k, v layer as kohya's split_qkv saves it: rank 3r, B block-diagonal, alpha of one part.
#[test]
fn an_alpha_that_was_not_scaled_along_is_told_as_a_third() {
    let parts = &modules()[..3];
    let written = Written::new();
    written.write(parts, Form::Kohya, SaveDtype::F32, None);
    let file = read::open(&written.path()).unwrap();
    let (mut tensors, mut bytes) = (Vec::new(), BTreeMap::new());
    for key in file.names() {
        bytes.insert(key.to_owned(), file.read_f32(key).unwrap());
    }
    let alpha = bytes.get_mut("lora_unet_joint_blocks_0_x_block_attn_qkv.alpha").unwrap();
    // Three times rank 4 at scale 1/2.
    assert_eq!(alpha[..], [6.0]);
    alpha[0] = 2.0;
    for (key, values) in &bytes {
        let shape = file.view(key).unwrap().shape.to_vec();
        tensors.push(TensorBytes::f32(key.as_str(), shape, values));
    }
    let spoilt = written.folder.path().join("spoilt.safetensors");
    write_tensors(&spoilt, &tensors, &BTreeMap::new()).unwrap();
    let verdicts = prove(&spoilt, parts, Form::Kohya, SaveDtype::F32, None).unwrap();
    for reader in ["ComfyUI", "kohya"] {
        let verdict = verdict(&verdicts, reader);
        assert!(!verdict.holds && verdict.meant);
        assert!(verdict.strength.iter().all(|strength| (strength - 1.0 / 3.0).abs() < 1e-9), "{verdict:?}");
    }
}

#[test]
fn pairs_that_share_a_keep_their_rank_in_one_layer() {
    let mut parts = modules()[..3].to_vec();
    let shared = matrix(4, WIDTH, 5);
    for part in &mut parts {
        if let Change::LowRank { a, .. } = &mut part.change {
            *a = shared.clone();
        }
    }
    let written = Written::new();
    written.write(&parts, Form::Kohya, SaveDtype::F32, None);
    let file = read::open(&written.path()).unwrap();
    let name = "lora_unet_joint_blocks_0_x_block_attn_qkv";
    assert_eq!(file.view(&format!("{name}.lora_down.weight")).unwrap().shape, [4, WIDTH]);
    assert_eq!(file.read_f32(&format!("{name}.alpha")).unwrap(), [2.0]);
    assert!(verdict(&written.prove(&parts, Form::Kohya, SaveDtype::F32), "kohya").holds);
}

#[test]
fn diffusers_refuses_what_it_would_refuse() {
    let reading = |tensors: &[TensorBytes<'_>], metadata: Option<&Value>| {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lora.safetensors");
        let metadata = metadata.map(|json| ("lora_adapter_metadata".to_owned(), json.to_string()));
        write_tensors(&path, tensors, &metadata.into_iter().collect()).unwrap();
        let file = read::open(&path).unwrap();
        let layers = crate::models::adapter::modules(&MmditConfig::medium());
        diffusers::read(&tensors::Tensors::new(&file), &layers).map(|loaded| loaded.patches.len())
    };
    let (a, b) = (vec![0.5; 1536], vec![0.5; 1536]);
    let name = |part: &str| format!("transformer.transformer_blocks.0.attn.to_q.{part}");
    let down = TensorBytes::f32(name("lora_A.weight"), [1, 1536], &a);
    let up = TensorBytes::f32(name("lora_B.weight"), [1536, 1], &b);
    let alpha = TensorBytes::f32(name("alpha"), [1], &[1.0]);
    let good = [down.clone(), up.clone()];
    assert_eq!(reading(&good, None), Ok(1));
    assert!(
        reading(&[down.clone(), up.clone(), alpha], None).unwrap_err().contains("Invalid LoRA checkpoint")
    );
    let unknown = json!({ "transformer.r": 1, "transformer.colour": "red" });
    assert!(reading(&good, Some(&unknown)).unwrap_err().contains("colour"));
    let rank =
        json!({ "transformer.r": 2, "transformer.lora_alpha": 2, "transformer.target_modules": ["to_q"] });
    assert!(reading(&good, Some(&rank)).unwrap_err().contains("size mismatch"));
    let kohya = TensorBytes::f32("lora_unet_joint_blocks_0_x_block_attn_proj.lora_up.weight", [1536, 1], &b);
    assert!(reading(&[kohya], None).unwrap_err().contains("nothing is loaded"));
}

#[test]
fn magnitudes_for_comfyui_depend_on_the_model_and_are_told_from_others() {
    let base =
        crate::export::Base::open(&Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/tiny-sd35")).unwrap();
    let module = |module: &str, outputs: usize| {
        let change = Change::LowRank { a: matrix(2, 128, 1), b: matrix(outputs, 2, 2), scale: 0.5 };
        let magnitude = Some((0..outputs).map(|row| 1.0 + row as f32 / 16.0).collect());
        AdapterModule { module: module.to_owned(), change, magnitude }
    };
    let modules = [
        module("transformer_blocks.0.attn.to_k", 128),
        module("transformer_blocks.3.norm1_context.linear", 256),
        module("norm_out.linear", 256),
    ];
    let written = Written::new();
    let (form, dtype) = (Form::Comfyui, SaveDtype::F32);
    let request = Request { form, dtype, alpha: None, about: &Value::Null, base: None };
    assert!(write::write(&written.path(), &modules, &request).unwrap_err().hint.contains("--model"));
    write::write(&written.path(), &modules, &Request { base: Some(&base), ..request }).unwrap();
    let verdicts = prove(&written.path(), &modules, form, dtype, Some(&base)).unwrap();
    let comfyui = verdict(&verdicts, "ComfyUI");
    assert!(comfyui.holds && comfyui.meant, "{comfyui:?}");
    let read = crate::export::AdapterFile::read(&written.path()).unwrap();
    assert!(read.require_whole().unwrap_err().cause.contains("ComfyUI"));

    // As LyCORIS takes them they are wrong there, with the model at hand to see it.
    written.write(&modules, Form::Lycoris, dtype, None);
    let verdicts = prove(&written.path(), &modules, Form::Lycoris, dtype, Some(&base)).unwrap();
    assert!(verdict(&verdicts, "LyCORIS").holds);
    assert!(!verdict(&verdicts, "ComfyUI").holds && !verdict(&verdicts, "ComfyUI").meant);
    assert!(
        verdict(&prove(&written.path(), &modules, Form::Lycoris, dtype, None).unwrap(), "ComfyUI").unchecked
            > 0
    );
}
