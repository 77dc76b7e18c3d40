//! What cannot be used is refused before the first step, in one line with a hint, and nothing is written or lost.

use super::surgery::{TRANSFORMER, Tensor, blank, operate, rewrite, write};
use super::workshop::{Ended, Workshop, files, model, sargent};
use image::codecs::gif::GifEncoder;
use image::{Frame, Rgb, RgbImage, Rgba, RgbaImage};
use std::path::{Path, PathBuf};

/// A run with the model at `path` is refused by all of `parts` and writes nothing.
fn assert_model_refused(workshop: &Workshop, path: &Path, parts: &[&str]) {
    workshop.train(&[&format!("pretrained_model_name_or_path={}", path.display())]).refused(parts);
    assert!(!workshop.output().exists());
}

/// As [`assert_model_refused`] with a copy of the miniature whose transformer was worked on.
fn assert_transformer_refused(operation: impl Fn(&Path), parts: &[&str]) {
    let workshop = Workshop::new();
    let copy = workshop.copy_of_model("model");
    operation(&copy.join(TRANSFORMER));
    assert_model_refused(&workshop, &copy, parts);
}

#[test]
fn a_missing_model_is_named() {
    let workshop = Workshop::new();
    assert_model_refused(&workshop, Path::new("/no/such/model"), &["/no/such/model"]);
    assert_model_refused(&workshop, &workshop.path("pictures"), &["no `transformer` folder"]);
    let copy = workshop.copy_of_model("model");
    std::fs::remove_file(copy.join(TRANSFORMER)).unwrap();
    assert_model_refused(&workshop, &copy, &["transformer", "no .safetensors file"]);
}

#[test]
fn a_truncated_model_is_refused() {
    for length in [0, 4, 5000, 4_000_000] {
        let truncate = |path: &Path| {
            let bytes = std::fs::read(path).unwrap();
            std::fs::write(path, &bytes[..length]).unwrap();
        };
        assert_transformer_refused(truncate, &["diffusion_pytorch_model.safetensors"]);
    }
}

#[test]
fn a_wrong_shape_names_the_tensor() {
    let turned = |path: &Path| operate(path, "context_embedder.weight", |tensor| tensor.shape.reverse());
    assert_transformer_refused(turned, &["context_embedder"]);
    let name = "transformer_blocks.1.attn.to_k.weight";
    let cut = |path: &Path| {
        operate(path, name, |tensor| {
            tensor.shape = vec![64, 128];
            tensor.bytes.truncate(2 * 64 * 128);
        });
    };
    assert_transformer_refused(cut, &["transformer_blocks.1.attn.to_k.weight", "shape"]);
    let lost = |path: &Path| rewrite(path, |tensor| (tensor.name != "proj_out.bias").then_some(tensor));
    assert_transformer_refused(lost, &["final_layer.linear.bias"]);
}

#[test]
fn other_models_are_recognised() {
    let without_qk_norm = |path: &Path| {
        let is_norm = |name: &str| name.contains(".attn.norm_") || name.contains(".attn2.norm_");
        rewrite(path, |tensor| (!is_norm(&tensor.name)).then_some(tensor));
    };
    assert_transformer_refused(without_qk_norm, &["Stable Diffusion 3.0"]);
    let workshop = Workshop::new();
    let xl = workshop.path("xl.safetensors");
    let names =
        ["model.diffusion_model.input_blocks.0.0.weight", "model.diffusion_model.label_emb.0.0.weight"];
    write(&xl, names.map(|name| blank(name, &[4, 4])).into());
    assert_model_refused(&workshop, &xl, &["Stable Diffusion XL"]);
    ["unet", "text_encoder_2"].iter().for_each(|name| {
        std::fs::create_dir_all(workshop.path("xl").join(name)).unwrap();
    });
    assert_model_refused(&workshop, &workshop.path("xl"), &["Stable Diffusion XL"]);
}

#[test]
fn a_weight_that_is_no_number_names_file_and_tensor() {
    let name = "transformer_blocks.0.ff.net.2.weight";
    let poison = |tensor: &mut Tensor| tensor.bytes[100..102].copy_from_slice(&0x7fc0_u16.to_le_bytes());
    assert_transformer_refused(|path| operate(path, name, poison), &[TRANSFORMER, name, "NaN"]);
    let workshop = Workshop::new();
    let copy = workshop.copy_of_model("model");
    let (vae, name) = ("vae/diffusion_pytorch_model.safetensors", "decoder.conv_out.weight");
    operate(&copy.join(vae), name, poison);
    assert_model_refused(&workshop, &copy, &[vae, name, "NaN"]);
}

#[test]
fn broken_weights_do_not_cost_an_earlier_run() {
    let workshop = Workshop::new();
    let copy = workshop.copy_of_model("model");
    let set = [&format!("pretrained_model_name_or_path={}", copy.display()), "max_train_steps=2"];
    workshop.trained(&set);
    let before = files(&workshop.output());
    let poison = |tensor: &mut Tensor| tensor.bytes[..2].copy_from_slice(&0x7f80_u16.to_le_bytes());
    operate(&copy.join(TRANSFORMER), "proj_out.bias", poison);
    workshop.train(&[&set[..], &["overwrite=true"]].concat()).refused(&["proj_out.bias"]);
    assert!(files(&workshop.output()) == before);
    let encoder = copy.join("text_encoder/model.safetensors");
    operate(&encoder, "text_model.final_layer_norm.weight", poison);
    std::fs::copy(model().join(TRANSFORMER), copy.join(TRANSFORMER)).unwrap();
    workshop
        .train(&[&set[..], &["overwrite=true"]].concat())
        .refused(&["text_model.final_layer_norm.weight"]);
    assert!(files(&workshop.output()) == before);
}

#[test]
fn a_missing_part_names_the_setting_that_supplies_it() {
    let workshop = Workshop::new();
    let lone = workshop.path("lone.safetensors");
    std::fs::copy(model().join(TRANSFORMER), &lone).unwrap();
    let mut set =
        vec![format!("pretrained_model_name_or_path={}", lone.display()), "max_train_steps=1".into()];
    let train = |set: &[String]| workshop.train(&set.iter().map(String::as_str).collect::<Vec<_>>());
    let mut missing = vec![
        ("vae_path", "vae"),
        ("text_encoder_path", "text_encoder"),
        ("text_encoder_2_path", "text_encoder_2"),
        ("text_encoder_3_path", "text_encoder_3"),
        ("tokenizer_path", "tokenizer"),
        ("tokenizer_2_path", "tokenizer_2"),
        ("tokenizer_3_path", "tokenizer_3"),
    ];
    while !missing.is_empty() {
        let stderr = train(&set).refused(&["there is no"]).stderr;
        assert!(!workshop.output().exists());
        let named = missing.iter().position(|(key, _)| stderr.contains(&format!("`{key}`")));
        let (key, part) = missing.remove(named.expect(&stderr));
        set.push(format!("{key}={}", model().join(part).display()));
    }
    train(&set).succeeded();
}

/// A run with `file` among the pictures is refused by all of `parts`; told to, it goes on without it.
fn assert_picture_refused(file: &str, write: impl Fn(&Path), parts: &[&str]) {
    let workshop = Workshop::new();
    let path = workshop.path("pictures").join(file);
    write(&path);
    std::fs::write(path.with_extension("txt"), "a caption\n").unwrap();
    workshop.train(&[]).refused(&[&[file][..], parts].concat());
    assert!(!workshop.output().exists());
    let stderr = workshop.trained(&["skip_broken_images=true", "max_train_steps=1"]);
    assert!(stderr.contains("left out: ") && stderr.contains(file), "{stderr}");
    assert!(stderr.contains("encoded 6 pictures"), "{stderr}");
}

fn picture() -> RgbImage {
    RgbImage::from_fn(80, 80, |x, y| Rgb([x as u8, y as u8, (x * y) as u8]))
}

#[test]
fn broken_pictures_are_refused_or_skipped() {
    assert_picture_refused(
        "broken.png",
        |path| std::fs::write(path, "not a picture").unwrap(),
        &["not a picture"],
    );
    assert_picture_refused("empty.png", |path| std::fs::write(path, "").unwrap(), &["empty"]);
    let cut = |path: &Path| {
        picture().save(path).unwrap();
        let bytes = std::fs::read(path).unwrap();
        std::fs::write(path, &bytes[..bytes.len() * 2 / 3]).unwrap();
    };
    assert_picture_refused("cut.jpg", cut, &["truncated"]);
    assert_picture_refused("cut.png", cut, &[]);
}

#[test]
fn moving_and_giant_pictures_are_refused_or_skipped() {
    let animate = |path: &Path| {
        let mut encoder = GifEncoder::new(std::fs::File::create(path).unwrap());
        let frame = |shade: u8| Frame::new(RgbaImage::from_pixel(80, 80, Rgba([shade, 0, 0, 255])));
        encoder.encode_frames([frame(0), frame(99)]).unwrap();
    };
    assert_picture_refused("moving.gif", animate, &["animated"]);
    let giant = |path: &Path| {
        picture().save(path).unwrap();
        let mut bytes = std::fs::read(path).unwrap();
        // Width and height stand at bytes 18 and 22 of a BMP.
        bytes[18..22].copy_from_slice(&30_000_i32.to_le_bytes());
        bytes[22..26].copy_from_slice(&30_000_i32.to_le_bytes());
        std::fs::write(path, bytes).unwrap();
    };
    assert_picture_refused("giant.bmp", giant, &["too large"]);
}

#[test]
fn unusual_pictures_are_used() {
    let workshop = Workshop::new();
    let deep =
        image::ImageBuffer::<image::Luma<u16>, _>::from_fn(90, 70, |x, y| image::Luma([(x * y) as u16]));
    deep.save(workshop.path("pictures/deep.png")).unwrap();
    std::fs::write(workshop.path("pictures/deep.txt"), "k4s4, a gradient\nanother caption\n").unwrap();
    let stderr = workshop.trained(&["max_train_steps=2"]);
    assert!(stderr.contains("encoded 7 pictures and 9 texts"), "{stderr}");
}

#[test]
fn captions_and_pictures_must_be_there() {
    let workshop = Workshop::new();
    std::fs::remove_file(workshop.path("pictures/01_blue_square.txt")).unwrap();
    workshop.train(&[]).refused(&["01_blue_square"]);
    std::fs::write(workshop.path("pictures/01_blue_square.txt"), "\n").unwrap();
    workshop.train(&[]).refused(&["01_blue_square"]);
    workshop.trained(&["caption_strategy=filename", "max_train_steps=1"]);
    let empty = Workshop::with_pictures(0);
    empty.train(&[]).refused(&["pictures", "no pictures"]);
    std::fs::remove_dir(empty.path("pictures")).unwrap();
    empty.train(&[]).refused(&["pictures"]);
    assert!(!empty.output().exists());
}

#[test]
fn a_picture_larger_than_the_position_table_is_refused_wherever_it_is_asked_for() {
    let workshop = Workshop::new();
    for command in ["train", "plan"] {
        let with = |set: &[&str]| Ended::of(&mut workshop.command(command, set));
        with(&["resolution=512"]).refused(&["384"]);
        with(&["validation_prompt=a", "validation_resolution=64x400"])
            .refused(&["`validation_resolution`", "384"]);
        with(&["validation_prompt=a", "validation_resolution=72x64"])
            .refused(&["`validation_resolution`", "16"]);
    }
    let data = format!(
        r#"[{{ "id": "a", "instance_data_dir": "{}", "resolution": 512 }}]"#,
        workshop.path("pictures").display()
    );
    std::fs::write(workshop.path("data.json"), data).unwrap();
    workshop.train(&[]).refused(&["384"]);
    assert!(!workshop.output().exists());
    let out = workshop.path("a.png");
    for (width, part) in [("400", "384"), ("72", "16"), ("0", "width")] {
        let mut sample = sargent();
        sample.args(["sample", "--prompt", "a", "--height", "64", "--width", width, "--model"]);
        Ended::of(sample.arg(model()).arg("--out").arg(&out)).refused(&["width", part]);
    }
    assert!(!out.exists());
}

#[test]
fn an_output_folder_that_cannot_be_written_is_refused() {
    let workshop = Workshop::new();
    let below_a_file = workshop.path("run.json").join("output");
    // No process may make folders in /proc, not even the administrator's.
    for folder in [PathBuf::from("/proc/sargent"), below_a_file.clone()] {
        let set = format!("output_dir={}", folder.display());
        workshop.train(&[&set]).refused(&[folder.to_str().unwrap(), "cannot be written"]);
    }
    let a_file = format!("output_dir={}", workshop.path("run.json").display());
    workshop.train(&[&a_file]).refused(&["this is a file"]);
    let mut sample = sargent();
    sample.args(["sample", "--prompt", "a", "--width", "64", "--height", "64", "--model"]).arg(model());
    Ended::of(sample.arg("--out").arg("/proc/sargent/a.png")).refused(&["/proc/sargent"]);
}

#[test]
fn settings_that_contradict_are_refused() {
    let workshop = Workshop::new();
    for (set, part) in [
        (&["num_train_epochs=3"][..], "`num_train_epochs`"),
        (&["max_train_steps=0"], "`max_train_steps`"),
        (&["gradient_checkpointing=true", "recompute=store"], "`recompute`"),
        (&["lr_scheduler=cosine_wave"], "`lr_warmup_steps`"),
        (&["lr_scheduler=polynomial", "lr_end=1"], "`lr_end`"),
        (&["flow_schedule_auto_shift=true", "flow_schedule_shift=3"], "`flow_schedule_auto_shift`"),
        (&["learning_rate=1e30"], "`learning_rate`"),
        (&["lora_rank=0"], "`lora_rank`"),
    ] {
        workshop.train(set).refused(&[part]);
    }
    assert!(!workshop.output().exists());
}
