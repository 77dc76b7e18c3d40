//! Configs in the form of kohya's documentation.

use crate::error::{ErrorKind, Result};
use crate::settings::{
    CaptionStrategy, DataBackends, Dialect, LoraPreset, LoraTargets, OptimizerKind, RunSettings, SigmaDensity,
};
use std::path::{Path, PathBuf};

/// The options of the SD3 guide's example command, as a config file.
const GUIDE: &str = "\
pretrained_model_name_or_path = 'model.safetensors'
clip_l = 'clip_l.safetensors'
clip_g = 'clip_g.safetensors'
t5xxl = 't5xxl.safetensors'
output_dir = 'out'
output_name = 'my_sd3_lora'
save_model_as = 'safetensors'
network_module = 'networks.lora_sd3'
network_dim = 16
learning_rate = 1e-4
optimizer_type = 'AdamW8bit'
lr_scheduler = 'constant'
sdpa = true
max_train_epochs = 10
save_every_n_epochs = 1
mixed_precision = 'fp16'
gradient_checkpointing = true
weighting_scheme = 'uniform'
blocks_to_swap = 32
";

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        folder.write("config.toml", "");
        folder
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path
    }

    fn load(&self, config: &str) -> Result<RunSettings> {
        RunSettings::load(&self.write("config.toml", config), &[])
    }

    fn data(&self, config: &str) -> Result<DataBackends> {
        self.load(config)?.data_backends()
    }
}

/// The guide's config with a dataset config.
fn with_data_sets(data: &str) -> Result<DataBackends> {
    let folder = Folder::new();
    for name in ["hoge/a.png", "hoge/a.txt", "fuga/a.png", "reg/a.png"] {
        folder.write(name, "");
    }
    folder.write("data.toml", data);
    folder.data(&format!("{GUIDE}train_batch_size = 4\ndataset_config = 'data.toml'\n"))
}

#[test]
fn the_guides_example_is_read_with_kohyas_defaults() {
    let folder = Folder::new();
    folder.write("data.toml", "");
    let s = folder.load(&format!("{GUIDE}dataset_config = 'data.toml'\n")).unwrap();
    assert_eq!(s.origin.dialect, Dialect::Kohya);
    assert_eq!((s.lora_rank, s.lora_alpha), (16, 1.0));
    assert_eq!((s.max_train_steps, s.num_train_epochs, s.train_batch_size), (0, 10, 1));
    assert_eq!((s.optimizer, s.learning_rate), (OptimizerKind::AdamW8bit, 1e-4));
    assert_eq!(
        (s.sigma_density, s.flow_schedule_shift, s.tokenizer_max_length),
        (SigmaDensity::Uniform, 1.0, 256)
    );
    assert_eq!(s.lora_targets, LoraTargets::Preset(LoraPreset::AllLinear));
    assert!(s.text_encoder_3_path.unwrap().ends_with("t5xxl.safetensors"));
    let ignored: Vec<_> = s.ignored.iter().map(|(key, _)| key.as_str()).collect();
    for key in ["output_name", "sdpa", "blocks_to_swap", "mixed_precision"] {
        assert!(ignored.contains(&key), "{key} is not in {ignored:?}");
    }
}

#[test]
fn sections_only_group_and_particular_keys_win() {
    let text = "[model]\npretrained_model_name_or_path = 'm'\n[dataset]\ndataset_config = 'd.toml'\n\
        [out]\noutput_dir = 'o'\n[net]\nnetwork_module = 'networks.lora_sd3'\nnetwork_dim = 8\n\
        network_args = ['verbose=True', 'split_qkv=True']\n\
        [opt]\nunet_lr = 2e-4\nlearning_rate = 1e-4\noptimizer_type = 'AdamW'\n\
        optimizer_args = ['weight_decay=0.05', 'betas=0.9,0.99']\nmax_train_steps = 500\nlr_warmup_steps = 0.1\n\
        weighting_scheme = 'logit_normal'\nlogit_mean = 0.5\ntraining_shift = 3.0\n";
    let s = Folder::new().load(text).unwrap();
    assert_eq!((s.lora_rank, s.learning_rate, s.adam_weight_decay, s.adam_beta2), (8, 2e-4, 0.05, 0.99));
    assert_eq!((s.max_train_steps, s.lr_warmup_steps), (500, 50));
    assert_eq!((s.sigma_density, s.logit_mean, s.flow_schedule_shift), (SigmaDensity::LogitNormal, 0.5, 3.0));
    let short = Folder::new().load("pretrained_model_name_or_path='m'\ndataset_config='d'\noutput_dir='o'\nnetwork_module='networks.lora_sd3'\n").unwrap();
    assert_eq!((short.lora_rank, short.max_train_steps), (4, 1600));
}

#[test]
fn what_cannot_be_honoured_stops_with_a_reason() {
    for (line, key) in [
        ("network_args = ['train_t5xxl=True']", "train_t5xxl"),
        ("network_args = ['x_attn_dim=8']", "x_attn_dim"),
        ("network_args = ['splti_qkv=True']", "split_qkv"),
        ("network_args = 3", "network_args"),
        ("optimizer_args = ['betas=0.9']", "betas"),
        ("masked_loss = true", "masked_loss"),
        ("fp8_base = true", "fp8_base"),
        ("network_train_text_encoder_only = true", "network_train_text_encoder_only"),
        ("apply_t5_attn_mask = true", "apply_t5_attn_mask"),
        ("clip_l_dropout_rate = 0.1", "clip_l_dropout_rate"),
        ("optimiser_type = 'x'", "optimizer_type"),
        ("reg_data_dir = 'reg'", "dataset_config"),
    ] {
        let error = Folder::new().load(&format!("{GUIDE}{line}\n")).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Settings, "{line}: {error}");
        assert!(error.to_string().contains(key), "{line}: {error}");
        assert!(!error.hint.is_empty(), "{line}: {error}");
    }
}

#[test]
fn data_sets_and_subsets_inherit_from_above() {
    let data = with_data_sets(
        "[general]\ncaption_extension = '.txt'\nenable_bucket = true\n[[datasets]]\nresolution = 512\nbatch_size = 4\n\
         [[datasets.subsets]]\nimage_dir = 'hoge'\nclass_tokens = 'hoge girl'\nnum_repeats = 10\n\
         [[datasets.subsets]]\nimage_dir = 'fuga'\nclass_tokens = 'fuga boy'\n\
         [[datasets]]\nresolution = [768, 768]\n[[datasets.subsets]]\nimage_dir = 'hoge'\n",
    )
    .unwrap();
    let [hoge, fuga, large] = data.images.as_slice() else { panic!("three sets") };
    assert_eq!((hoge.id.as_str(), hoge.resolution, hoge.repeats, hoge.passes()), ("1-hoge", 512, 9, 10));
    assert_eq!(hoge.caption_strategy, CaptionStrategy::Textfile);
    assert_eq!(
        (fuga.caption_strategy, fuga.instance_prompt.as_deref()),
        (CaptionStrategy::InstancePrompt, Some("fuga boy"))
    );
    assert_eq!((fuga.passes(), large.resolution, large.id.as_str()), (1, 768, "3-hoge"));
    assert_eq!(data.ignored.iter().filter(|(key, _)| key == "enable_bucket").count(), 1);
}

#[test]
fn the_batch_size_is_that_of_the_data_sets() {
    let folder = Folder::new();
    folder.write("data.toml", "[general]\nbatch_size = 6\n[[datasets]]\n[[datasets]]\n");
    let batch = |more: &str| {
        folder.load(&format!("{GUIDE}dataset_config = 'data.toml'\n{more}")).unwrap().train_batch_size
    };
    assert_eq!((batch(""), batch("train_batch_size = 2\n")), (6, 6));
}

#[test]
fn data_sets_that_cannot_be_honoured_are_refused() {
    let subset = |more: &str| {
        with_data_sets(&format!("[[datasets]]\n[[datasets.subsets]]\nimage_dir = 'hoge'\n{more}\n"))
    };
    subset("num_repeats = 1").unwrap();
    for (more, says) in [
        ("num_repeats = 0", "num_repeats"),
        ("num_repeats = 'x'", "num_repeats"),
        ("color_aug = true", "color_aug"),
        ("resolution = [1, 2, 3]", "resolution"),
        ("num_repaets = 3", "`num_repeats`"),
        ("conditioning_data_dir = 'c'", "conditioning_data_dir"),
    ] {
        let error = subset(more).unwrap_err().to_string();
        assert!(error.contains(says) && error.contains("data.toml"), "{more}: {error}");
    }
    for (text, says) in [
        ("[general]\nbatch_size = 4\n[[datasets]]\n[[datasets]]\nbatch_size = 2\n", "batch_size"),
        ("", "train_data_dir"),
        ("[general]\nx = 1\n[other]\ny = 1\n[[datasets]]\nsubsets = []\n", "other"),
        ("[[datasets]]\nresolution = 512\n", "subsets"),
        ("datasets = 3", "list"),
        ("[[datasets]]\n[[datasets.subsets]]\nimage_dir = 'nowhere'\n", "nowhere"),
        ("[[datasets]]\n[[datasets.subsets]]\nclass_tokens = 'x'\n", "instance_data_dir"),
    ] {
        let error = with_data_sets(text).unwrap_err().to_string();
        assert!(error.contains(says), "{text}: {error}");
    }
}

#[test]
fn folders_of_train_data_dir_say_repeats_and_class() {
    let folder = Folder::new();
    for name in
        ["train/5_k4s4 woman/a.png", "train/5_k4s4 woman/a.txt", "train/2_dog/b.png", "train/notes/x.txt"]
    {
        folder.write(name, "");
    }
    let config =
        format!("{GUIDE}[data]\ntrain_data_dir = 'train'\nresolution = '1024,1024'\nenable_bucket = true\n");
    let settings = folder.load(&config).unwrap();
    assert_eq!(settings.resolution, 1024);
    let data = settings.data_backends().unwrap();
    let [dog, woman] = data.images.as_slice() else { panic!("two sets") };
    assert_eq!((woman.passes(), woman.caption_strategy), (5, CaptionStrategy::Textfile));
    assert_eq!((dog.passes(), dog.instance_prompt.as_deref(), dog.resolution), (2, Some("dog"), 1024));
    assert!(woman.instance_data_dir.ends_with("train/5_k4s4 woman"));
    assert!(data.ignored.iter().any(|(key, _)| key == "enable_bucket"));
    let error = folder.data(&format!("{GUIDE}train_data_dir = 'train/notes'\n")).unwrap_err();
    assert!(error.hint.contains("REPEATS_words"), "{error}");
}

#[test]
fn resolutions_are_an_edge_or_two() {
    use super::data_sets::edge;
    use serde_json::json;
    for (written, expected) in [
        (json!(512), json!(512.0)),
        (json!("1024,1024"), json!(1024.0)),
        (json!([768, 768]), json!(768.0)),
        (json!("1216, 832"), json!(1008.0)),
    ] {
        assert_eq!(edge(&written), Ok(expected), "{written}");
    }
    assert!(edge(&json!("big")).is_err() && edge(&json!([])).is_err() && edge(&json!({})).is_err());
    assert!(Path::new("x").is_relative());
}
