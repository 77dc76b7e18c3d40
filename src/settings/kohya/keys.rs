//! The keys of kohya's configs: which are settings here, which have no effect, which cannot be honoured.

use crate::settings::foreign::{Ignored, Restricted};

/// Keys whose setting here has another name. A later row is more particular than the one before it.
#[rustfmt::skip]
pub const RENAMED: &[(&str, &str)] = &[
    ("network_dim", "lora_rank"),
    ("network_alpha", "lora_alpha"),
    ("network_dropout", "lora_dropout"),
    ("unet_lr", "learning_rate"),
    ("optimizer_type", "optimizer"),
    ("lr_scheduler_num_cycles", "lr_num_cycles"),
    ("lr_scheduler_power", "lr_power"),
    ("clip_l", "text_encoder_path"),
    ("clip_g", "text_encoder_2_path"),
    ("t5xxl", "text_encoder_3_path"),
    ("vae", "vae_path"),
    ("ae", "vae_path"),
    ("t5xxl_max_token_length", "tokenizer_max_length"),
    ("training_shift", "flow_schedule_shift"),
    ("save_every_n_steps", "checkpointing_steps"),
    ("sample_every_n_steps", "validation_steps"),
    ("network_weights", "init_lora"),
    ("save_precision", "save_dtype"),
];

/// Keys of data sets that may stand in the training config, for all of them.
#[rustfmt::skip]
pub const OF_DATA_SETS: &[&str] = &[
    "batch_size", "bucket_no_upscale", "bucket_reso_steps", "cache_info", "caption_dropout_every_n_epochs",
    "caption_extension", "caption_extention", "caption_prefix", "caption_separator", "caption_suffix",
    "caption_tag_dropout_rate", "color_aug", "dataset_repeats", "enable_bucket", "enable_wildcard",
    "face_crop_aug_range", "flip_aug", "keep_tokens", "keep_tokens_separator", "max_bucket_reso",
    "min_bucket_reso", "num_repeats", "prior_loss_weight", "random_crop", "resize_interpolation", "secondary_separator",
    "shuffle_caption", "token_warmup_min", "token_warmup_step", "alpha_mask",
];

/// Keys without effect.
#[rustfmt::skip]
pub const IGNORED: &[Ignored] = &[
    Ignored { why: "the LoRA is pytorch_lora_weights.safetensors in the output folder", names: &[
        "output_name", "save_model_as", "save_n_epoch_ratio", "save_every_n_epochs", "save_last_n_epochs",
        "save_last_n_steps", "save_last_n_epochs_state", "save_last_n_steps_state", "save_state",
        "save_state_on_train_end", "no_metadata", "training_comment", "metadata_title", "metadata_author",
        "metadata_description", "metadata_license", "metadata_tags", "metadata_usage_hint",
        "metadata_thumbnail", "metadata_trigger_phrase", "metadata_preprocessor", "metadata_merged_from",
        "metadata_is_negative_embedding", "output_config", "save_clip", "save_t5xxl", "use_safetensors"] },
    Ignored { why: "nothing is uploaded", names: &[
        "huggingface_repo_id", "huggingface_repo_type", "huggingface_path_in_repo", "huggingface_token",
        "huggingface_repo_visibility", "save_state_to_huggingface", "async_upload"] },
    Ignored { why: "metrics.jsonl and tensorboard/ in the output folder hold what was measured", names: &[
        "log_with", "log_prefix", "log_tracker_name", "log_tracker_config", "wandb_run_name", "wandb_api_key",
        "log_config", "console_log_level", "console_log_file", "console_log_simple", "debug_dataset"] },
    Ignored { why: "pictures are drawn by validation_prompt or user_prompt_library", names: &[
        "sample_prompts", "sample_every_n_epochs", "sample_at_first", "sample_sampler"] },
    Ignored { why: "latents and embeddings are always cached, keyed by what they are made of", names: &[
        "cache_latents", "cache_latents_to_disk", "cache_text_encoder_outputs",
        "cache_text_encoder_outputs_to_disk", "skip_cache_check", "vae_batch_size", "text_encoder_batch_size",
        "tokenizer_cache_dir"] },
    Ignored { why: "speed and memory are planned by the program", names: &[
        "sdpa", "xformers", "mem_eff_attn", "torch_compile", "lowram", "highvram", "blocks_to_swap",
        "cpu_offload_checkpointing", "max_data_loader_n_workers", "persistent_data_loader_workers",
        "disable_mmap_load_safetensors", "full_fp16", "full_bf16", "no_half_vae", "t5xxl_device",
        "t5xxl_dtype", "fused_backward_pass", "ddp_timeout", "ddp_gradient_as_bucket_view",
        "ddp_static_graph", "zero_stage", "zero3_init_flag", "zero3_save_16bit_model",
        "offload_optimizer_device", "offload_optimizer_nvme_path", "offload_param_device",
        "offload_param_nvme_path", "fp16_master_weights_and_gradients", "config_file", "dataset_class"] },
    Ignored { why: "SD3.5 has no such thing", names: &[
        "clip_skip", "max_token_length", "min_snr_gamma", "zero_terminal_snr", "debiased_estimation_loss",
        "multires_noise_iterations", "multires_noise_discount", "adaptive_noise_scale", "ip_noise_gamma",
        "noise_offset_random_strength", "ip_noise_gamma_random_strength",
        "huber_scale", "text_encoder_lr", "dim_from_weights", "base_weights_multiplier", "perlin_noise",
        "scale_v_pred_loss_like_noise_pred", "v_pred_like_loss", "validate_every_n_steps",
        "validate_every_n_epochs", "max_validation_steps"] },
    Ignored { why: "only the diffusion transformer gets adapters", names: &["network_train_unet_only"] },
];

/// Keys that hold with certain values only.
#[rustfmt::skip]
pub const RESTRICTED: &[Restricted] = &[
    Restricted { names: &["network_module"],
        accepted: &["networks.lora_sd3", "networks.lora", "lycoris.kohya"],
        why: "adapters are LoRA of SD3.5, or those of LyCORIS" },
    Restricted { names: &["network_train_text_encoder_only"], accepted: &["false"],
        why: "only the diffusion transformer gets adapters" },
    Restricted { names: &["v2", "v_parameterization"], accepted: &["false"],
        why: "only Stable Diffusion 3.5 is trained" },
    Restricted { names: &["fp8_base", "fp8_base_unet"], accepted: &["false"],
        why: "a quantised base model is not supported yet" },
    Restricted { names: &["masked_loss", "conditioning_data_dir", "weighted_captions"], accepted: &["false"],
        why: "it is not supported yet" },
    Restricted { names: &["apply_lg_attn_mask", "apply_t5_attn_mask"], accepted: &["false"],
        why: "padding of captions is left as it is, as SD3.5 was trained" },
    Restricted { names: &["clip_l_dropout_rate", "clip_g_dropout_rate", "t5_dropout_rate",
                          "pos_emb_random_crop_rate"], accepted: &["0", "0.0"],
        why: "it is not supported; caption_dropout_probability drops a caption for all encoders" },
    Restricted { names: &["enable_scaled_pos_embed"], accepted: &["false"],
        why: "positions are the model's own" },
    Restricted { names: &["scale_weight_norms"], accepted: &["0", "0.0"],
        why: "adapters are not rescaled" },
    Restricted { names: &["base_weights"], accepted: &["false"],
        why: "merge it into the model first" },
    Restricted { names: &["min_timestep"], accepted: &["0"],
        why: "noise levels are drawn from the whole range" },
    Restricted { names: &["max_timestep"], accepted: &["1000"],
        why: "noise levels are drawn from the whole range" },
    Restricted { names: &["resume", "resume_from_huggingface"], accepted: &["false"],
        why: "only this program's own runs are resumed, by resume_from_checkpoint" },
    Restricted { names: &["initial_epoch", "initial_step", "skip_until_initial_step"], accepted: &["0", "1", "false"],
        why: "a run begins at its beginning, or where resume_from_checkpoint says" },
    Restricted { names: &["validation_split"], accepted: &["0", "0.0"],
        why: "give a share of pictures to hold out under this program's own name" },
    Restricted { names: &["deepspeed"], accepted: &["false"],
        why: "it is not supported" },
    Restricted { names: &["reg_data_dir"], accepted: &["false"],
        why: "write a dataset_config, whose subsets may have is_reg = true" },
    Restricted { names: &["use_8bit_adam"], accepted: &["false"],
        why: "set optimizer_type to AdamW8bit" },
    Restricted { names: &["use_lion_optimizer"], accepted: &["false"],
        why: "the optimizer is AdamW" },
    Restricted { names: &["lr_scheduler_type", "lr_scheduler_args", "lr_decay_steps", "lr_scheduler_timescale",
                          "optimizer_schedulefree_wrapper", "schedulefree_wrapper_args"],
        accepted: &["0", "false", "[]"],
        why: "the schedules of lr_scheduler are all there are" },
    Restricted { names: &["lr_scheduler_min_lr_ratio"], accepted: &["0", "0.0"],
        why: "linear and cosine end at 0" },
];

/// What `network_args` may say, beside settings of their own name.
#[rustfmt::skip]
pub const NETWORK: &[Restricted] = &[
    Restricted { names: &["context_attn_dim", "context_mlp_dim", "context_mod_dim", "x_attn_dim", "x_mlp_dim",
                          "x_mod_dim", "emb_dims"], accepted: &["none"],
        why: "name the layers in lora_targets" },
    Restricted { names: &["train_block_indices"], accepted: &["all"],
        why: "every block is trained" },
    Restricted { names: &["rank_dropout", "module_dropout"], accepted: &["0", "0.0", "none"],
        why: "dropout is that of the adapters' input, lora_dropout" },
    Restricted { names: &["split_qkv"], accepted: &["true", "false"],
        why: "q, k and v always have adapters of their own" },
    Restricted { names: &["train_t5xxl"], accepted: &["false"],
        why: "only the diffusion transformer gets adapters" },
    Restricted { names: &["loraplus_lr_ratio", "loraplus_unet_lr_ratio", "loraplus_text_encoder_lr_ratio"],
        accepted: &["1", "none"],
        why: "A and B have one learning rate" },
    Restricted { names: &["conv_dim", "conv_alpha"], accepted: &["none", "0"],
        why: "SD3.5's transformer has no convolutions to adapt" },
    Restricted { names: &["algo"], accepted: &["lora", "locon"],
        why: "adapters of another kind are described by lycoris_config" },
];

/// What `network_args` may say without effect.
pub const NETWORK_IGNORED: &[&str] = &["verbose"];

/// Every name that a training config may have, for suggestions.
pub fn names() -> impl Iterator<Item = &'static str> {
    let renamed = RENAMED.iter().map(|(theirs, _)| *theirs);
    let ignored = IGNORED.iter().flat_map(|keys| keys.names.iter().copied());
    let restricted = RESTRICTED.iter().flat_map(|keys| keys.names.iter().copied());
    let settings = crate::settings::keys::Section::all(crate::settings::keys::RUN).map(|key| key.name);
    renamed.chain(OF_DATA_SETS.iter().copied()).chain(ignored).chain(restricted).chain(settings)
}
