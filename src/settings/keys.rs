//! The table of settings: one row a key. Everything else about settings follows from it.
//!
//! To add a setting: a row here, a field of the same name in [`RunSettings`](super::RunSettings) at the same
//! place, a test. The default is written as a user would write it: `""` is none, `=key` is the value of an
//! earlier key, `=key/name` a path below one.

use super::choices::{
    CaptionLines, CaptionStrategy, DataSampling, DeviceChoice, GradClipMethod, GuardAction, LoraInit,
    LoraType, LossWeighting, LrScheduler, OptimizerKind, Recompute, ResolutionType, SaveDtype, SigmaDensity,
};
use super::kind::Kind::{self, *};
use super::kind::LARGEST_EDGE;
use Effect::*;

/// What a setting bears on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// The trained weights: written into the LoRA's header, and fixed once training has begun.
    Weights,
    /// The trained weights, by how long training goes: in the header, yet a resumed run may change it.
    Length,
    /// What is trained on what: fixed once training has begun, but of no use in a header (paths).
    Pinned,
    /// Neither: a resumed run may change it.
    Free,
    /// How the settings are read (a shorthand for others, say); it is not kept itself.
    Reading,
}

impl Effect {
    /// Whether the LoRA's header names it.
    pub fn in_header(self) -> bool {
        matches!(self, Weights | Length)
    }

    /// Whether a resumed run must have the value that it began with.
    pub fn fixed_on_resume(self) -> bool {
        matches!(self, Weights | Pinned)
    }
}

/// A row of the table.
#[derive(Debug)]
pub struct Key {
    /// The name, without leading dashes.
    pub name: &'static str,
    /// What its value may be.
    pub kind: Kind,
    /// The default as a user would write it; see the module's documentation.
    pub default: &'static str,
    /// What it bears on.
    pub effect: Effect,
    /// What it means, in a sentence or two.
    pub doc: &'static str,
    /// Other names that are accepted for it.
    pub synonyms: &'static [&'static str],
}

/// A group of rows with one subject.
#[derive(Debug)]
pub struct Section {
    /// The subject.
    pub title: &'static str,
    /// Its rows.
    pub keys: &'static [Key],
}

impl Section {
    /// The row that `name` means in `table`, by its name or a synonym.
    pub fn find(table: &'static [Self], name: &str) -> Option<&'static Key> {
        Self::all(table).find(|key| key.name == name || key.synonyms.contains(&name))
    }

    /// Every row of `table`.
    pub fn all(table: &'static [Self]) -> impl Iterator<Item = &'static Key> {
        table.iter().flat_map(|section| section.keys)
    }
}

/// The setting of a run that `written` names, by its name or a synonym, with or without leading dashes.
pub fn name_of(written: &str) -> Option<&'static str> {
    Section::find(RUN, written.trim_start_matches('-')).map(|key| key.name)
}

/// A row without synonyms.
pub(super) const fn key(
    name: &'static str,
    kind: Kind,
    default: &'static str,
    effect: Effect,
    doc: &'static str,
) -> Key {
    Key { name, kind, default, effect, doc, synonyms: &[] }
}

impl Key {
    /// The same row with other names that are accepted for it.
    pub(super) const fn or(mut self, synonyms: &'static [&'static str]) -> Self {
        self.synonyms = synonyms;
        self
    }
}

/// A range without an upper limit.
const ANY: i64 = i64::MAX;
/// The largest double below 1 that reads well: moving averages never stand still.
const BELOW_1: f64 = 0.999_999_9;

/// The settings of a run.
#[rustfmt::skip]
pub const RUN: &[Section] = &[
Section { title: "Model", keys: &[
    key("pretrained_model_name_or_path", Model, "", Pinned,
        "The model: a diffusers folder, one safetensors file in the Stability or ComfyUI layout, or the id of a \
         model in the local Hugging Face cache. Required.")
        .or(&["model_path"]),
    key("model_flavour", Choice(&[&["medium"], &["large"]]), "", Reading,
        "In place of the path: SD3.5 Medium or Large in the Hugging Face cache."),
    key("revision", Text, "", Reading,
        "The branch, tag or commit of a model in the Hugging Face cache."),
    key("text_encoder_path", Source, "", Pinned,
        "CLIP-L, when the model file lacks it."),
    key("text_encoder_2_path", Source, "", Pinned,
        "CLIP-G, when the model file lacks it."),
    key("text_encoder_3_path", Source, "", Pinned,
        "T5-XXL, when the model file lacks it."),
    key("tokenizer_path", Source, "", Pinned,
        "CLIP-L's tokenizer, when the model is a single file."),
    key("tokenizer_2_path", Source, "", Pinned,
        "CLIP-G's tokenizer, when the model is a single file."),
    key("tokenizer_3_path", Source, "", Pinned,
        "T5's tokenizer, when the model is a single file."),
    key("vae_path", Source, "", Pinned,
        "A VAE to use instead of the model's own."),
    key("tokenizer_max_length", Whole(77, 512), "256", Weights,
        "Tokens of T5, in training and in validation alike.")
        .or(&["max_sequence_length", "t5xxl_max_token_length"]),
]},
Section { title: "Output", keys: &[
    key("output_dir", Target, "", Free,
        "The folder for the LoRA, checkpoints, images and metrics. Required to train."),
    key("overwrite", Switch, "false", Free,
        "Begin afresh in a folder that holds checkpoints."),
    key("save_dtype", Choice(SaveDtype::WORDS), "bf16", Free,
        "Number format of the exported LoRA."),
]},
Section { title: "Data", keys: &[
    key("data_backend_config", Source, "", Free,
        "The list of data sets (multidatabackend.json). Required to train."),
    key("resolution", Resolution, "1024", Weights,
        "Edge of the square bucket; the other buckets have about the same area. A data set may have its own."),
    key("resolution_type", Choice(ResolutionType::WORDS), "pixel_area", Weights,
        "What resolution and the three sizes below measure: `pixel_area` the edge of a square of the same area, in \
         pixels; `area` megapixels; `pixel` the shorter edge, in pixels."),
    key("minimum_image_size", Real(0.0, LARGEST_EDGE as f64), "0", Weights,
        "Leave out smaller pictures, for data sets that do not say."),
    key("maximum_image_size", Real(0.0, LARGEST_EDGE as f64), "", Weights,
        "Scale pictures larger than this down to target_downsample_size before they are cropped, for data sets that \
         do not say."),
    key("target_downsample_size", Real(0.0, LARGEST_EDGE as f64), "", Weights,
        "See maximum_image_size."),
    key("caption_strategy", Choice(CaptionStrategy::WORDS), "textfile", Weights,
        "Where captions come from, for data sets that do not say: the text file beside the picture, its name, \
         `instance_prompt`, the table that the data set's block `parquet` names (`csv` and `jsonl` say the same), or \
         a `metadata.jsonl`, `.csv`, `.parquet` or `.json` in the folder (also `huggingface`, `kohya`)."),
    key("caption_lines", Choice(CaptionLines::WORDS), "variants", Weights,
        "What the lines of a caption's text file are: variants, one of which is drawn each time; only the first is \
         read, as sd-scripts does; or the whole file is one caption."),
    key("disable_multiline_split", Switch, "", Reading,
        "`true` is caption_lines `whole`."),
    key("caption_extension", Text, "", Weights,
        "What caption files end in; by default `.txt`, and `.caption` where there is none."),
    key("trigger_word", Text, "", Weights,
        "Takes the place of `[trigger]` in captions, and is put before captions that lack it."),
    key("parquet_filename_column", Text, "", Pinned,
        "filename_column of the blocks `parquet` that do not say it."),
    key("parquet_caption_column", Text, "", Pinned,
        "caption_column of the blocks `parquet` that do not say it."),
    key("instance_prompt", Text, "", Weights,
        "The caption of `instanceprompt`, for data sets that have none of their own."),
    key("prepend_instance_prompt", Switch, "false", Weights,
        "Put the instance prompt and a space before every caption."),
    key("only_instance_prompt", Switch, "false", Weights,
        "Ignore captions; the same as caption_strategy `instanceprompt`."),
    key("caption_dropout_probability", Real(0.0, 1.0), "0", Weights,
        "How often a caption is replaced by the empty one. Guidance works better when it is about 0.1.")
        .or(&["caption_dropout_rate"]),
    key("clip_l_dropout_rate", Real(0.0, 1.0), "0", Weights,
        "How often a sample does without CLIP-L: zeros in its place."),
    key("clip_g_dropout_rate", Real(0.0, 1.0), "0", Weights,
        "How often a sample does without CLIP-G."),
    key("t5_dropout_rate", Real(0.0, 1.0), "0", Weights,
        "How often a sample does without T5."),
    key("shuffle_caption", Switch, "false", Weights,
        "Put a caption's parts in another order each time, without end; the shuffle follows from the seed. Captions \
         are then encoded between epochs.")
        .or(&["shuffle_tokens", "enable_tag_shuffling"]),
    key("keep_tokens", Whole(0, 10_000), "0", Weights,
        "Parts at a caption's beginning that are neither moved nor left out. A prepended instance prompt never is.")
        .or(&["keep_tags_count"]),
    key("keep_tokens_separator", Text, "", Weights,
        "What ends the kept beginning of a caption instead, `|||` for example; what follows a second one is kept at \
         the end."),
    key("caption_separator", Separator, ",", Weights,
        "What stands between a caption's parts.")
        .or(&["tag_delimiter"]),
    key("secondary_separator", Text, "", Weights,
        "What stands for caption_separator inside a part that is moved and left out as a whole."),
    key("caption_tag_dropout_rate", Real(0.0, 1.0), "0", Weights,
        "How often each part of a caption is left out, the kept ones never.")
        .or(&["token_dropout_rate", "tag_dropout_probability"]),
    key("enable_wildcard", Switch, "false", Weights,
        "Read `{a|b}` in a caption as one of a and b, drawn each time, and `{{` as a brace."),
    key("caption_shuffle", Pairs, "", Reading,
        "SimpleTuner's block: `enable` is shuffle_caption, `split_on` caption_separator, `position_start` keep_tokens."),
    key("data_backend_sampling", Choice(DataSampling::WORDS), "auto-weighting", Weights,
        "How data sets share an epoch: `auto-weighting` by their batches times their probability, so that every \
         picture is seen once a pass where all probabilities are 1; `uniform` by probability alone."),
    key("prior_loss_weight", Real(0.0, 1000.0), "1", Weights,
        "What the loss of data sets with is_reg is multiplied by."),
    key("skip_broken_images", Switch, "false", Pinned,
        "Report a picture that cannot be used and go on without it, instead of stopping."),
    key("cache_dir", Target, "=output_dir/cache", Free,
        "Where latents and text embeddings are kept."),
    key("cache_dir_vae", Target, "=cache_dir", Free,
        "Where latents are kept."),
    key("cache_dir_text", Target, "=cache_dir", Free,
        "Where text embeddings are kept."),
]},
Section { title: "Adapter", keys: &[
    key("lora_type", Choice(LoraType::WORDS), "standard", Weights,
        "What adapters are made of: `standard` is a low-rank pair (LoRA, or DoRA with use_dora), `lycoris` is what \
         lycoris_config describes."),
    key("lycoris_config", Document, "", Weights,
        "With lora_type `lycoris`: a JSON object, or a file with one, as SimpleTuner and LyCORIS have it: `algo` (`lora`, \
         `loha`, `lokr`), `linear_dim`, `linear_alpha`, `factor`, `full_matrix`, `decompose_both`, `apply_preset`. \
         Rank and alpha that it does not give are lora_rank and lora_alpha."),
    key("lora_rank", Whole(1, 16_384), "16", Weights,
        "Rank r of the adapters: A is [r, in], B is [out, r].")
        .or(&["rank", "network_dim"]),
    key("lora_alpha", Real(0.0, 1e6), "=lora_rank", Weights,
        "The adapters' output is scaled by alpha / r.")
        .or(&["network_alpha"]),
    key("use_rslora", Switch, "false", Weights,
        "Scale by alpha / sqrt(r) instead (rank-stabilised LoRA)."),
    key("use_dora", Switch, "false", Weights,
        "Train the length of every row of the changed weight as well (DoRA). Dropout stays in front of A alone."),
    key("rank_pattern", Numbers(1.0, 16_384.0), "", Weights,
        "Other ranks for some layers: names and ranks, `attn.to_q=64,ff.net.2=8` or a JSON object. A name is a regular \
         expression for the end of a layer's path, as in PEFT; the first that matches holds."),
    key("alpha_pattern", Numbers(0.0, 1e6), "", Weights,
        "Other alphas for some layers, in the same way; alpha does not follow the rank."),
    key("lora_dropout", Real(0.0, BELOW_1), "0", Weights,
        "How often an element of an adapter's input is dropped while training."),
    key("lora_targets", Targets, "simpletuner", Weights,
        "Which linears get an adapter: `simpletuner` (image-stream attention), `diffusers` (the eight projections \
         of the joint attention), `all-linear` (every linear in the blocks but adaLN), or module names.")
        .or(&["peft_lora_target_modules", "lora_layers"]),
    key("lora_blocks", Blocks, "", Weights,
        "The transformer blocks whose layers get an adapter, counted from 0: `12-24`, `0,3,30-37`; all when not set.")
        .or(&["train_block_indices"]),
    key("lora_init_type", Choice(LoraInit::WORDS), "default", Weights,
        "How A begins: uniform in ±1/sqrt(in), or normal with deviation 1/r. B is zero."),
    key("init_lora", Source, "", Pinned,
        "A LoRA, DoRA, LoHa or LoKr file to train on from. Its layers keep the file's kind, rank and scale; layers that \
         it lacks begin without a change.")
        .or(&["network_weights", "pretrained_lora_path", "init_from_existing"]),
]},
Section { title: "Training", keys: &[
    key("max_train_steps", Whole(0, ANY), "0", Length,
        "Optimizer steps to train. Give this or num_train_epochs; 0 is not given.")
        .or(&["max_num_steps"]),
    key("num_train_epochs", Whole(0, 1_000_000), "0", Length,
        "Passes over the data to train, repeats included. Give this or max_train_steps; 0 is not given.")
        .or(&["num_epochs", "max_train_epochs"]),
    key("train_batch_size", Whole(1, 4096), "4", Weights,
        "Pictures in a batch; the last batch of a bucket may have fewer."),
    key("gradient_accumulation_steps", Whole(1, 65_536), "1", Weights,
        "Batches that make one optimizer step; each counts by its number of pictures."),
    key("seed", Whole(0, ANY), "42", Weights,
        "Everything random follows from it.")
        .or(&["training_seed"]),
    key("recompute", Choice(Recompute::WORDS), "auto", Free,
        "How much the backward pass computes again to save memory; the results are the same."),
    key("gradient_checkpointing", Switch, "", Reading,
        "`true` is recompute `lean`, `false` is `store`."),
    key("modulation_steps", Whole(1, 1024), "8", Free,
        "For how many coming steps the modulation vectors are computed together; the results are the same."),
    key("vae_band_rows", Whole(0, LARGEST_BAND), "0", Free,
        "Rows of a picture that the VAE works on at a time; 0 chooses by the memory there is."),
    key("device", Choice(DeviceChoice::WORDS), "auto", Free,
        "Where to compute."),
    key("compat", Compat, "none", Weights,
        "`simpletuner=1.1.4`: do what that version really did, where the names say something else; its defaults hold \
         too. Without a version it is the newest known, 4.8.0. The same as --compat."),
    key("i_know_what_i_am_doing", Switch, "false", Free,
        "With compat: let max_grad_norm and tokenizer_max_length be what they are, where SimpleTuner forces others."),
]},
Section { title: "Flow matching", keys: &[
    key("flow_schedule_shift", Real(0.0, 1000.0), "3.0", Weights,
        "s in sigma' = s·sigma / (1 + (s - 1)·sigma): more noise in training for s above 1. 0 is off, the same as 1.")
        .or(&["flux_schedule_shift", "training_shift"]),
    key("flow_schedule_auto_shift", Switch, "false", Weights,
        "Choose the shift by the number of image tokens; then flow_schedule_shift must be unset or 0.")
        .or(&["flux_schedule_auto_shift"]),
    key("sigma_density", Choice(SigmaDensity::WORDS), "logit_normal", Weights,
        "How sigma is drawn, before the shift."),
    key("logit_mean", Real(-100.0, 100.0), "0", Weights,
        "Mean of the normal number in `logit_normal`."),
    key("logit_std", Real(0.0, 100.0), "1", Weights,
        "Deviation of the normal number in `logit_normal`.")
        .or(&["flow_sigmoid_scale", "flow_matching_sigmoid_scale", "sigmoid_scale"]),
    key("mode_scale", Real(-1.0, 1.75), "1.29", Weights,
        "The scale s in `mode`: sigma = 1 - u - s·(cos²(pi·u/2) - 1 + u)."),
    key("loss_weighting", Choice(LossWeighting::WORDS), "none", Weights,
        "Weight of a sample's loss: 1, 1/sigma², or 2 / (pi·(1 - 2·sigma + 2·sigma²))."),
    key("weighting_scheme", Choice(WEIGHTING_SCHEMES), "", Reading,
        "diffusers' key: `logit_normal` and `mode` set sigma_density with loss_weighting `none`; `sigma_sqrt`, \
         `cosmap` and `none` set loss_weighting with sigma_density `uniform`."),
    key("flow_use_uniform_schedule", Switch, "", Reading,
        "`true` is sigma_density `uniform`.")
        .or(&["flux_use_uniform_schedule"]),
]},
Section { title: "Optimizer", keys: &[
    key("optimizer", Choice(OptimizerKind::WORDS), "adamw", Weights,
        "The optimizer: AdamW with everything in fp32; with adapters and states in bf16, rounded stochastically; or \
         with states in 8 bits. The arithmetic of a step is fp32 in all of them."),
    key("learning_rate", Real(0.0, 100.0), "1e-4", Weights,
        "The highest learning rate."),
    key("lr_scheduler", Choice(LrScheduler::WORDS), "constant_with_warmup", Weights,
        "The course of the learning rate. `cosine` is one descent after the warm-up; SimpleTuner's `cosine`, \
         a wave, is `cosine_wave`. `constant` with warm-up steps is `constant_with_warmup`."),
    key("lr_warmup_steps", Whole(0, ANY), "0", Weights,
        "Steps in which the learning rate rises from 0; the half period of `sine` and `cosine_wave`."),
    key("lr_end", Real(0.0, 100.0), "1e-7", Weights,
        "The lowest learning rate of `polynomial`, `sine` and `cosine_wave`."),
    key("lr_power", Real(0.0, 100.0), "1.0", Weights,
        "The exponent of `polynomial`."),
    key("lr_num_cycles", Whole(1, 1_000_000), "1", Weights,
        "The number of descents of `cosine_with_restarts`."),
    key("adam_beta1", Real(0.0, BELOW_1), "0.9", Weights,
        "Decay of the gradient's average.")
        .or(&["optimizer_beta1"]),
    key("adam_beta2", Real(0.0, BELOW_1), "0.999", Weights,
        "Decay of the squared gradient's average.")
        .or(&["optimizer_beta2"]),
    key("adam_epsilon", Real(1e-30, 1.0), "1e-8", Weights,
        "Added to the root of the squared gradient's average."),
    key("adam_weight_decay", Real(0.0, 100.0), "1e-2", Weights,
        "Decoupled weight decay: each step takes away this share of the learning rate.")
        .or(&["weight_decay"]),
    key("optimizer_config", Pairs, "", Reading,
        "Several of the above at once: `beta1`, `beta2`, `eps`, `weight_decay`."),
    key("max_grad_norm", Real(0.0, 1e9), "1.0", Weights,
        "The gradient is scaled down to this norm when it is longer; 0 is off."),
    key("grad_clip_method", Choice(GradClipMethod::WORDS), "norm", Weights,
        "What max_grad_norm limits: the norm of all gradients together, or the size of each element."),
    key("use_ema", Switch, "false", Weights,
        "Export and validate with a moving average of the adapters."),
    key("ema_decay", Real(0.0, 1.0), "0.995", Weights,
        "Decay of that average; it begins lower and rises to this."),
    key("ema_update_after_step", Whole(0, ANY), "0", Weights,
        "Steps before that average begins."),
]},
Section { title: "Validation images", keys: &[
    key("validation_prompt", Text, "", Free,
        "A prompt to draw, under the name `validation`."),
    key("user_prompt_library", Source, "", Free,
        "More prompts to draw: a JSON file, `{\"name\": \"prompt\"}` or a list of prompts."),
    key("validation_negative_prompt", Text, "", Free,
        "What the images should not show, for all prompts."),
    key("validation_guidance", Real(0.0, 100.0), "4.5", Free,
        "Classifier-free guidance; up to 1 is off. 1 by default for a model called Turbo."),
    key("validation_guidance_skip_layers", Wholes(0, 999), "", Free,
        "Blocks without which the model is asked once more, to lead the image away from the answer: skip-layer \
         guidance. `7,8,9` for SD3.5 Medium; it needs classifier-free guidance.")
        .or(&["skip_guidance_layers"]),
    key("validation_guidance_skip_layers_start", Real(0.0, 1.0), "0.01", Free,
        "Share of the steps after which skip-layer guidance begins."),
    key("validation_guidance_skip_layers_stop", Real(0.0, 1.0), "0.2", Free,
        "Share of the steps before which skip-layer guidance ends."),
    key("validation_guidance_skip_scale", Real(0.0, 100.0), "2.8", Free,
        "How strongly skip-layer guidance leads away."),
    key("validation_num_inference_steps", Whole(1, 1000), "28", Free,
        "Sampling steps of an image. 4 by default for a model called Turbo."),
    key("validation_seed", Whole(0, ANY), "42", Free,
        "Seed of the first noise, the same for every prompt."),
    key("validation_steps", Whole(0, ANY), "0", Free,
        "Draw after every so many steps; 0 draws only at the beginning and at the end.")
        .or(&["validation_step_interval"]),
    key("validation_resolution", Sizes, "=resolution", Free,
        "Sizes to draw: `1024x1024,1280x768`, or a number for a square."),
    key("disable_benchmark", Switch, "false", Free,
        "Do not draw before the first step."),
    key("validation_strengths", Reals(-10.0, 10.0), "0.25,0.5,0.75,1,1.25", Free,
        "Strengths of the LoRA at which the first prompt is drawn when training has ended; `1` alone draws none."),
]},
Section { title: "Checkpoints", keys: &[
    key("checkpointing_steps", Whole(0, ANY), "500", Free,
        "Save after every so many steps; 0 saves only at the end.")
        .or(&["checkpoint_step_interval"]),
    key("checkpoints_total_limit", Whole(0, ANY), "5", Free,
        "Checkpoints to keep, the newest; 0 keeps all.")
        .or(&["save_total_limit"]),
    key("checkpoints_state_limit", Whole(1, ANY), "2", Free,
        "Of these, how many keep what resuming needs; the others keep the adapter alone."),
    key("resume_from_checkpoint", Text, "", Free,
        "`latest`, or a name like `checkpoint-500`; `latest` begins afresh when there is none."),
]},
Section { title: "Held-out pictures and guard", keys: &[
    key("eval_share", Real(0.0, 0.5), "0", Weights,
        "Share of the pictures that is never trained on, so that the loss on them tells whether the LoRA still \
         learns or only memorises. 0 is none, 0.05 a good start from 40 pictures."),
    key("eval_steps", Whole(0, ANY), "=checkpointing_steps", Free,
        "Evaluate the held-out pictures after every so many steps, and at the beginning and the end; 0 only then.")
        .or(&["eval_steps_interval", "eval_step_interval"]),
    key("eval_noise_levels", Whole(1, 64), "4", Free,
        "Noise levels at which each held-out picture is evaluated, equally probable in training.")
        .or(&["eval_timesteps"]),
    key("guard", Choice(GuardAction::WORDS), "warn", Weights,
        "What to do when the held-out loss has turned, or gradients explode: nothing, say so, stop, or go back to \
         the last good checkpoint and on with a lower learning rate."),
    key("guard_rise", Real(0.0, 10.0), "0.05", Weights,
        "The held-out loss has turned when it lies above its lowest value by this share."),
    key("guard_patience", Whole(1, 1000), "3", Weights,
        "For so many evaluations in a row."),
    key("guard_gradient_factor", Real(1.0, 1e6), "10", Weights,
        "Gradients explode when their norm is so many times the median of the last 100 steps, for five steps in a \
         row, while the loss is above its median."),
    key("guard_lr_factor", Real(0.01, 1.0), "0.5", Weights,
        "What `roll_back` multiplies the learning rate by."),
    key("guard_rollbacks", Whole(0, 100), "2", Weights,
        "How often `roll_back` goes back before it stops."),
]},
];

/// Taller than any picture: bands of this many rows are no bands.
const LARGEST_BAND: i64 = LARGEST_EDGE;

/// The words of diffusers' `weighting_scheme`.
const WEIGHTING_SCHEMES: super::choices::Words =
    &[&["logit_normal"], &["mode"], &["none", "uniform"], &["sigma_sqrt"], &["cosmap"]];
