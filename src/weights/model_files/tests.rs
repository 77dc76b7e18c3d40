//! The bundled miniature in every form a model may come in, and everything that is not one.

use super::*;
use crate::tensor::{DType, Shape};
use crate::weights::layouts::Form;
use crate::weights::{
    TensorBytes, TensorFile, layouts, open_mmdit, open_text_encoder, open_vae, write_tensors,
};

fn bundled() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/tiny-sd35")
}

fn open(path: &Path) -> Result<ModelFiles> {
    ModelFiles::open(path, &Overrides::default())
}

/// The tensors of a part as a single file stores them.
fn single_file_tensors(prefix: &str, weights: &WeightMap) -> Vec<TensorBytes<'static>> {
    let stored = |weight: &crate::weights::Weight| {
        let mut shape = weight.stored_shape().dims().to_vec();
        let rule = layouts::VAE.find(layouts::Keys::Canonical, &weight.name).map(|found| found.rule.form);
        if rule == Some(Form::Matrix) && shape.len() == 2 {
            shape.extend([1, 1]);
        }
        TensorBytes {
            name: format!("{prefix}{}", weight.name).into(),
            dtype: weight.storage,
            shape: shape.into(),
            bytes: weight.read_stored().unwrap().into(),
        }
    };
    weights.weights().map(stored).collect()
}

/// The bundled model as one file; without encoders and VAE if `bare`.
fn single_file(path: &Path, bare: bool) {
    let model = open(&bundled()).unwrap();
    let mut tensors = single_file_tensors("model.diffusion_model.", &model.mmdit);
    let mut metadata = BTreeMap::new();
    if !bare {
        tensors.extend(single_file_tensors("first_stage_model.", model.vae().unwrap()));
        for (which, name) in TextEncoder::ALL.into_iter().zip(["clip_l", "clip_g", "t5xxl"]) {
            let prefix = format!("text_encoders.{name}.transformer.");
            tensors.extend(single_file_tensors(&prefix, model.text_encoder(which).unwrap()));
        }
        let constants = [("scaling_factor", "1.1289"), ("shift_factor", "0.0935"), ("norm_num_groups", "4")];
        metadata = constants.map(|(key, value)| (format!("vae.{key}"), value.to_owned())).into();
    }
    write_tensors(path, &tensors, &metadata).unwrap();
}

/// Writes small tensors of the given names.
fn named(path: &Path, names: &[&str]) {
    let tensors: Vec<_> = names.iter().map(|name| TensorBytes::bf16(*name, [2, 2], &[1.0; 4])).collect();
    write_tensors(path, &tensors, &BTreeMap::new()).unwrap();
}

fn assert_refused<T: std::fmt::Debug>(result: Result<T>, says: &[&str]) {
    let error = result.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Weights, "{error}");
    assert!(!error.cause.contains('\n') && !error.hint.is_empty(), "{error}");
    for part in says {
        assert!(error.to_string().contains(part), "{error} should say {part}");
    }
}

#[test]
fn a_diffusers_folder_has_everything() {
    let model = open(&bundled()).unwrap();
    assert_eq!(model.scheduler_shift, 3.0);
    let constants = VaeConstants { scaling_factor: 1.1289, shift_factor: 0.0935, norm_num_groups: 4 };
    assert_eq!(model.vae_constants, constants);
    assert_eq!(model.mmdit_config.as_ref().unwrap()["num_layers"], 4);
    assert_eq!(model.clip_l.config.as_ref().unwrap()["hidden_act"], "quick_gelu");
    let qkv = model.mmdit.expect_shape("joint_blocks.3.x_block.attn.qkv.weight", &[384, 128].into()).unwrap();
    assert_eq!((qkv.storage, qkv.rows.len()), (DType::Bf16, 3));
    for which in TextEncoder::ALL {
        assert!(model.tokenizer(which).unwrap().join("tokenizer.json").is_file());
        let weights = model.text_encoder(which).unwrap();
        assert!(weights.weights().all(|w| w.residency == crate::weights::Residency::Streamed));
    }
}

#[test]
fn a_single_file_is_the_same_model() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("any name.safetensors");
    single_file(&path, false);
    let (one, two) = (open(&path).unwrap(), open(&bundled()).unwrap());
    assert_eq!(fingerprint(&one.mmdit).unwrap(), fingerprint(&two.mmdit).unwrap());
    assert_eq!(one.vae_fingerprint().unwrap(), two.vae_fingerprint().unwrap());
    for which in TextEncoder::ALL {
        let (a, b) = (one.text_encoder_fingerprint(which), two.text_encoder_fingerprint(which));
        assert_eq!(a.unwrap(), b.unwrap());
    }
}

#[test]
fn the_fingerprint_sees_a_single_changed_value() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.safetensors");
    single_file(&path, true);
    let before = fingerprint(&open_mmdit(&path).unwrap()).unwrap();
    let mut bytes = std::fs::read(&path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&path, bytes).unwrap();
    assert_ne!(before, fingerprint(&open_mmdit(&path).unwrap()).unwrap());
}

#[test]
fn what_a_bare_file_lacks_can_be_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.safetensors");
    single_file(&path, true);
    let bare = open(&path).unwrap();
    assert_eq!(bare.vae_constants, VaeConstants::default());
    assert_refused(bare.vae().map(|_| ()), &["no VAE", VAE_SETTING]);
    assert_refused(bare.text_encoder(TextEncoder::T5).map(|_| ()), &["T5", "text_encoder_3_path"]);
    assert_refused(bare.tokenizer(TextEncoder::ClipG).map(|_| ()), &["CLIP-G", "tokenizer_2_path"]);

    let overrides = Overrides {
        vae: Some(bundled().join("vae")),
        clip_l: Some(bundled().join("text_encoder")),
        t5: Some(bundled().join("text_encoder_3/model.safetensors")),
        t5_tokenizer: Some(bundled().join("tokenizer_3")),
        ..Overrides::default()
    };
    let model = ModelFiles::open(&path, &overrides).unwrap();
    assert_eq!(model.vae_constants.norm_num_groups, 4);
    assert!(model.text_encoder(TextEncoder::ClipL).is_ok() && model.clip_l.config.is_some());
    assert!(model.tokenizer(TextEncoder::T5).is_ok());
    let wrong = Overrides { vae: Some(bundled().join("text_encoder")), ..Overrides::default() };
    assert_refused(ModelFiles::open(&path, &wrong), &["there is no VAE in it"]);
    let missing = Overrides { t5_tokenizer: Some("/nowhere".into()), ..Overrides::default() };
    assert_refused(ModelFiles::open(&path, &missing), &["no such file", "tokenizer_3_path"]);
}

/// Shards of the bundled MMDiT, alternating, with their index.
fn shards(folder: &Path) -> PathBuf {
    let file = TensorFile::open(&bundled().join("transformer/diffusion_pytorch_model.safetensors")).unwrap();
    let mut places = serde_json::Map::new();
    let mut tensors = [Vec::new(), Vec::new()];
    for (i, name) in file.names().enumerate() {
        let view = file.view(name).unwrap();
        let (dtype, shape) = (view.dtype, Shape::from(view.shape));
        tensors[i % 2].push(TensorBytes { name: name.into(), dtype, shape, bytes: view.bytes.into() });
        places.insert(name.to_owned(), format!("part-{}.safetensors", i % 2).into());
    }
    for (i, tensors) in tensors.iter().enumerate() {
        write_tensors(&folder.join(format!("part-{i}.safetensors")), tensors, &BTreeMap::new()).unwrap();
    }
    let index = folder.join("diffusion_pytorch_model.safetensors.index.json");
    std::fs::write(&index, serde_json::json!({ "weight_map": places }).to_string()).unwrap();
    index
}

#[test]
fn shards_are_one_model() {
    let folder = tempfile::tempdir().unwrap();
    let index = shards(folder.path());
    let sharded = open_mmdit(folder.path()).unwrap();
    assert_eq!(fingerprint(&sharded).unwrap(), fingerprint(&open(&bundled()).unwrap().mmdit).unwrap());

    named(&folder.path().join("part-1.safetensors"), &["other"]);
    assert_refused(
        open_mmdit(folder.path()),
        &["part-1.safetensors", "lacks a tensor that the index promises"],
    );
    std::fs::remove_file(folder.path().join("part-1.safetensors")).unwrap();
    assert_refused(open_mmdit(folder.path()), &["part-1.safetensors", "no such file", "shards"]);
    std::fs::write(&index, r#"{"weight_map": {"a": "../x.safetensors"}}"#).unwrap();
    assert_refused(open_mmdit(folder.path()), &["`a` is not named properly"]);
    std::fs::write(&index, "{").unwrap();
    assert_refused(open_mmdit(folder.path()), &["not valid JSON"]);
    std::fs::remove_file(&index).unwrap();
    named(&folder.path().join("part-1.safetensors"), &["other"]);
    assert_refused(open_mmdit(folder.path()), &["2 .safetensors files and no index"]);
}

#[test]
fn other_models_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.safetensors");
    let cases: [(&[&str], &str); 12] = [
        (&["model.diffusion_model.joint_blocks.0.x_block.attn.qkv.weight"], "Stable Diffusion 3.0"),
        (&["transformer_blocks.0.attn.add_k_proj.weight"], "Stable Diffusion 3.0"),
        (&["model.diffusion_model.input_blocks.0.0.weight", "conditioner.embedders.0.x"], "Diffusion XL"),
        (&["model.diffusion_model.input_blocks.0.0.weight"], "Stable Diffusion 1 or 2"),
        (&["time_embedding.linear_1.weight", "add_embedding.linear_1.weight"], "Diffusion XL"),
        (&["double_blocks.0.img_attn.qkv.weight"], "Flux"),
        (&["single_transformer_blocks.0.attn.to_q.weight"], "Flux"),
        (&["transformer.transformer_blocks.0.attn.to_q.lora_A.weight"], "LoRA"),
        (&["first_stage_model.decoder.conv_in.weight"], "a VAE only"),
        (&["text_model.encoder.layers.0.mlp.fc1.weight"], "a text encoder only"),
        (&["something.else"], "not a model that is known"),
        (&[], "no tensors"),
    ];
    for (names, says) in cases {
        named(&path, names);
        assert_refused(open(&path), &[says, "t.safetensors"]);
    }
    std::fs::write(folder.path().join("m.ckpt"), "x").unwrap();
    assert_refused(open(&folder.path().join("m.ckpt")), &[".ckpt files are not read", ".safetensors"]);
    std::fs::write(folder.path().join("m.gguf"), "x").unwrap();
    assert_refused(open(&folder.path().join("m.gguf")), &[".gguf"]);
    assert_refused(open(&folder.path().join("nothing")), &["no such file"]);
}

#[test]
fn other_folders_are_named() {
    let folder = tempfile::tempdir().unwrap();
    assert_refused(open(folder.path()), &["no `transformer` folder"]);
    std::fs::create_dir(folder.path().join("unet")).unwrap();
    assert_refused(open(folder.path()), &["Stable Diffusion 1 or 2"]);
    std::fs::create_dir(folder.path().join("text_encoder_2")).unwrap();
    assert_refused(open(folder.path()), &["Stable Diffusion XL"]);
    std::fs::create_dir(folder.path().join("transformer")).unwrap();
    assert_refused(open(folder.path()), &["no .safetensors file"]);
}

#[test]
fn the_vae_of_another_model_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("vae.safetensors");
    let values = [0.0; 8 * 4 * 9];
    let first = TensorBytes::bf16("decoder.conv_in.weight", [8, 4, 3, 3], &values);
    write_tensors(&path, &[first], &BTreeMap::new()).unwrap();
    assert_refused(open_vae(&path), &["4 latent channels", "decoder.conv_in.weight"]);
}

#[test]
fn missing_and_misshapen_tensors_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.safetensors");
    let norms = "transformer_blocks.0.attn.norm_added_k.weight";
    let q = "transformer_blocks.0.attn.add_q_proj.weight";
    let k = "transformer_blocks.0.attn.add_k_proj.weight";
    named(&path, &[norms, q, k]);
    assert_refused(open_mmdit(&path), &["attn.add_v_proj.weight", "missing"]);

    let v = TensorBytes::bf16("transformer_blocks.0.attn.add_v_proj.weight", [2, 3], &[0.0; 6]);
    let square = |name| TensorBytes::bf16(name, [2, 2], &[0.0; 4]);
    write_tensors(&path, &[square(norms), square(q), square(k), v], &BTreeMap::new()).unwrap();
    assert_refused(open_mmdit(&path), &["add_v_proj", "[2, 3]", "neighbours"]);

    let model = open(&bundled()).unwrap();
    let shape = Shape::from([64, 127]);
    let wrong = model.mmdit.expect_shape("final_layer.linear.weight", &shape).map(|_| ());
    assert_refused(wrong, &["proj_out.weight", "[64, 128]", "[64, 127]"]);
    assert_refused(
        model.mmdit.get("final_layer.nothing").map(|_| ()),
        &["final_layer.nothing", "MMDiT lacks"],
    );
}

#[test]
fn values_that_are_not_finite_are_found_when_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t5.safetensors");
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let values = [1.0, 2.0, bad, 4.0];
        let bf16 = TensorBytes::bf16("shared.weight", [2, 2], &values);
        let f16_bytes: Vec<u8> = values.iter().flat_map(|v| half::f16::from_f32(*v).to_le_bytes()).collect();
        let f16 = TensorBytes { dtype: DType::F16, bytes: f16_bytes.into(), ..bf16.clone() };
        for tensor in [bf16, f16, TensorBytes::f32("shared.weight", [2, 2], &values)] {
            write_tensors(&path, &[tensor], &BTreeMap::new()).unwrap();
            let weights = open_text_encoder(&path, TextEncoder::T5).unwrap();
            let weight = weights.get("shared.weight").unwrap();
            let mut row = [0.0; 2];
            weight.read_rows_f32(0..1, &mut row).unwrap();
            assert_eq!(row, [1.0, 2.0]);
            assert_refused(
                weight.read_f32(&mut [0.0; 4]),
                &["t5.safetensors", "shared.weight", "NaN or infinite"],
            );
            assert!(weight.read_f32(&mut [0.0; 3]).is_err());
        }
    }
}

#[test]
fn fp8_is_refused_when_used() {
    let header = concat!(
        r#"{"shared.weight":{"dtype":"F8_E4M3","shape":[2,2],"data_offsets":[0,4]},"#,
        r#""encoder.final_layer_norm.weight":{"dtype":"BF16","shape":[2],"data_offsets":[4,8]}}"#
    );
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    bytes.extend([0; 8]);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t5.safetensors");
    std::fs::write(&path, bytes).unwrap();
    let weights = open_text_encoder(&path, TextEncoder::T5).unwrap();
    assert!(weights.get("encoder.final_layer_norm.weight").is_ok());
    assert_refused(weights.get("shared.weight").map(|_| ()), &["fp8 weights are not supported yet"]);
    assert!(fingerprint(&weights).is_err());
}

#[test]
fn numbers_that_are_none_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let metadata = BTreeMap::from([("vae.scaling_factor".to_owned(), "much".to_owned())]);
    assert_refused(VaeConstants::of(None, &metadata, folder.path()), &["scaling_factor is not a number"]);
    let config = serde_json::json!({ "norm_num_groups": 0 });
    assert_refused(VaeConstants::of(Some(&config), &BTreeMap::new(), folder.path()), &["is zero"]);
    std::fs::create_dir(folder.path().join("scheduler")).unwrap();
    std::fs::write(folder.path().join("scheduler/scheduler_config.json"), r#"{"shift": -1}"#).unwrap();
    assert_refused(scheduler_shift(folder.path()), &["`shift`"]);
}
