//! The bundled miniature from prompt to embedding, against diffusers (`tests/fixtures/text/make.py`).

use super::*;
use crate::weights::{ModelFiles, Overrides};

fn model() -> ModelFiles {
    ModelFiles::open(&root().join("assets/tiny-sd35"), &Overrides::default()).unwrap()
}

pub fn open() -> TextEncoders {
    TextEncoders::open(&model()).unwrap()
}

const LENGTHS: [usize; 2] = [77, 256];

fn expected() -> (TensorFile, Vec<String>) {
    let file = TensorFile::open(&root().join("tests/fixtures/text/embeddings.safetensors")).unwrap();
    let prompts = serde_json::from_str(&file.metadata()["prompts"]).unwrap();
    (file, prompts)
}

#[test]
fn prompts_are_encoded_as_diffusers_does() {
    let (file, prompts) = expected();
    let step = |key: &str| file.metadata()[key].parse::<usize>().unwrap();
    let encoders = open();
    for (index, prompt) in prompts.iter().enumerate() {
        for length in LENGTHS {
            let found = encoders.encode(&mut engine(), prompt, length).unwrap();
            assert_eq!((found.tokens, found.width), (77 + length, 256));
            let rows: Vec<&[f32]> = found.prompt_embeds.chunks(found.width).collect();
            let norms: Vec<f32> =
                rows.iter().map(|row| row.iter().map(|v| v * v).sum::<f32>().sqrt()).collect();
            let sample: Vec<f32> = rows
                .iter()
                .step_by(step("row"))
                .flat_map(|row| row.iter().step_by(step("column")).copied())
                .collect();
            for (name, found) in [
                (format!("{index}.{length}.rows"), &norms),
                (format!("{index}.{length}.sample"), &sample),
                (format!("{index}.pooled"), &found.pooled),
            ] {
                let off = distance(found, &file.read_f32(&name).unwrap());
                assert!(off < 2e-6, "{name} is off by {off}");
            }
        }
    }
}

#[test]
fn a_prompt_has_the_same_values_alone_and_in_a_batch() {
    let (_, prompts) = expected();
    // More than one group, the last one short.
    let prompts: Vec<&str> = prompts.iter().map(String::as_str).cycle().take(13).collect();
    let encoders = open();
    let together = encoders.encode_batch(&mut engine(), &prompts, 77).unwrap();
    assert_eq!(together.len(), prompts.len());
    for (prompt, found) in prompts.iter().zip(together) {
        let alone = open().encode(&mut engine(), prompt, 77).unwrap();
        assert!(distance(&found.prompt_embeds, &alone.prompt_embeds) < 1e-6, "{prompt:?}");
        assert!(distance(&found.pooled, &alone.pooled) < 1e-6, "{prompt:?}");
    }
    assert!(encoders.encode_batch(&mut engine(), &[], 77).unwrap().is_empty());
}

#[test]
fn without_t5_zeros_stand_in_its_place() {
    let with = open();
    let without = TextEncoders::open_without_t5(&model()).unwrap();
    let (with, without) = (
        with.encode(&mut engine(), "a cat", 77).unwrap(),
        without.encode(&mut engine(), "a cat", 77).unwrap(),
    );
    let clip = 77 * 256;
    assert_eq!((without.tokens, without.width, &without.pooled), (154, 256, &with.pooled));
    assert_eq!(without.prompt_embeds[..clip], with.prompt_embeds[..clip]);
    assert!(without.prompt_embeds[clip..].iter().all(|value| *value == 0.0));
    assert!(with.prompt_embeds[clip..].iter().any(|value| *value != 0.0));
}

#[test]
fn the_single_file_gives_the_same_embeddings() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let model = model();
    let stored = |prefix: &str, weights: &WeightMap| -> Vec<TensorBytes<'static>> {
        let tensors = weights.weights().map(|weight| TensorBytes {
            name: format!("{prefix}{}", weight.name).into(),
            dtype: weight.storage,
            shape: weight.stored_shape(),
            bytes: weight.read_stored().unwrap().into(),
        });
        tensors.collect()
    };
    let mut tensors = stored("model.diffusion_model.", &model.mmdit);
    for (which, name) in TextEncoder::ALL.into_iter().zip(["clip_l", "clip_g", "t5xxl"]) {
        tensors.extend(stored(
            &format!("text_encoders.{name}.transformer."),
            model.text_encoder(which).unwrap(),
        ));
    }
    write_tensors(&path, &tensors, &BTreeMap::new()).unwrap();
    let tokenizer = |name: &str| Some(root().join("assets/tiny-sd35").join(name));
    let overrides = Overrides {
        clip_l_tokenizer: tokenizer("tokenizer"),
        clip_g_tokenizer: tokenizer("tokenizer_2"),
        t5_tokenizer: tokenizer("tokenizer_3"),
        ..Overrides::default()
    };
    let single = TextEncoders::open(&ModelFiles::open(&path, &overrides).unwrap()).unwrap();
    assert_eq!(
        single.encode(&mut engine(), "a red fish", 77).unwrap(),
        open().encode(&mut engine(), "a red fish", 77).unwrap()
    );
    let lacks = ModelFiles::open(&path, &Overrides::default()).unwrap();
    assert_refused(TextEncoders::open(&lacks), &["tokenizer", "`tokenizer_path`"]);
}

#[test]
fn what_is_missing_is_named_with_the_setting_that_supplies_it() {
    for (lacking, setting) in
        TextEncoder::ALL.into_iter().zip(["text_encoder_path", "text_encoder_2_path", "text_encoder_3_path"])
    {
        let mut model = model();
        match lacking {
            TextEncoder::ClipL => model.clip_l.weights = None,
            TextEncoder::ClipG => model.clip_g.weights = None,
            TextEncoder::T5 => model.t5.weights = None,
        }
        assert_refused(TextEncoders::open(&model), &[setting]);
        assert_eq!(TextEncoders::open_without_t5(&model).is_ok(), lacking == TextEncoder::T5);
    }
    let mut model = model();
    model.t5.tokenizer = None;
    assert_refused(TextEncoders::open(&model), &["tokenizer_3_path"]);
}

#[test]
fn encoders_that_do_not_fit_the_transformer_are_refused() {
    let mut foreign = model();
    (foreign.clip_l.weights, foreign.clip_l.config) = (Some(weights_of(TextEncoder::ClipL)), None);
    assert_refused(TextEncoders::open(&foreign), &["pooled", "160", "192"]);
    (foreign.clip_g.weights, foreign.clip_g.config) = (Some(weights_of(TextEncoder::ClipG)), None);
    (foreign.t5.weights, foreign.t5.config) = (Some(weights_of(TextEncoder::T5)), None);
    assert_refused(TextEncoders::open(&foreign), &["hidden", "96", "256"]);
}

#[test]
fn the_fingerprint_depends_on_weights_numbers_and_tokenizers() {
    let of = |model: &ModelFiles| TextEncoders::open(model).unwrap().fingerprint().unwrap();
    let first = of(&model());
    assert_eq!((first.len(), &first), (64, &of(&model())));
    assert_ne!(TextEncoders::open_without_t5(&model()).unwrap().fingerprint().unwrap(), first);

    let mut numbers = model();
    numbers.clip_g.config.as_mut().unwrap()["hidden_act"] = "quick_gelu".into();
    assert_ne!(of(&numbers), first);

    let folder = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(root().join("assets/tiny-sd35/tokenizer_2")).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, folder.path().join(path.file_name().unwrap())).unwrap();
    }
    let mut tokenizer = model();
    tokenizer.clip_g.tokenizer = Some(folder.path().to_owned());
    assert_eq!(of(&tokenizer), first);
    let map = folder.path().join("special_tokens_map.json");
    std::fs::write(&map, std::fs::read_to_string(&map).unwrap() + "\n").unwrap();
    assert_ne!(of(&tokenizer), first);
}
