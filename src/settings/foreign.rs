//! Keys of SimpleTuner's settings files that have no setting here: those that cannot change the result are
//! accepted without effect, those that would are accepted only with the one meaning that holds here.

use super::kind::shown;
use crate::error::{Error, Result};
use serde_json::Value;

/// Keys that are accepted without effect.
pub struct Ignored {
    /// Their names.
    pub names: &'static [&'static str],
    /// Why they have no effect.
    pub why: &'static str,
}

/// Keys that are accepted with certain values only.
pub struct Restricted {
    /// Their names.
    pub names: &'static [&'static str],
    /// The values, as text.
    pub accepted: &'static [&'static str],
    /// What holds here.
    pub why: &'static str,
}

/// See [`Ignored`].
#[rustfmt::skip]
pub const IGNORED: &[Ignored] = &[
    Ignored { why: "nothing is uploaded", names: &[
        "push_to_hub", "push_checkpoints_to_hub", "push_to_hub_background", "hub_model_id", "hub_token",
        "model_card_private", "model_card_safe_for_work", "model_card_note", "publishing_config",
        "webhook_config", "webhook_reporting_interval"] },
    Ignored { why: "metrics.jsonl and tensorboard/ in the output folder hold what was measured", names: &[
        "report_to", "tracker_project_name", "tracker_run_name", "tracker_image_layout", "logging_dir",
        "print_filenames", "print_sampler_statistics"] },
    Ignored { why: "eval_share holds pictures of the data sets themselves out of training", names: &[
        "eval_dataset_id", "num_eval_images"] },
    Ignored { why: "the device chooses its own number formats, never coarser than asked", names: &[
        "mixed_precision", "gradient_precision", "base_model_default_dtype", "vae_dtype", "quantize_via",
        "quantize_activations", "text_encoder_1_precision", "text_encoder_2_precision",
        "text_encoder_3_precision", "text_encoder_4_precision", "allow_tf32", "disable_tf32"] },
    Ignored { why: "speed and memory are planned by the program", names: &[
        "attention_mechanism", "enable_xformers_memory_efficient_attention", "fuse_qkv_projections",
        "fused_qkv_projections", "dynamo_backend", "dynamo_mode", "dynamo_fullgraph", "dynamo_dynamic",
        "validation_torch_compile", "validation_torch_compile_mode", "vae_enable_tiling",
        "vae_enable_slicing", "vae_enable_patch_conv", "vae_batch_size", "write_batch_size", "read_batch_size",
        "image_processing_batch_size", "dataloader_prefetch", "dataloader_prefetch_qlen",
        "dataloader_num_workers", "max_workers", "enable_multiprocessing", "torch_num_threads",
        "set_grads_to_none", "optimizer_release_gradients", "optimizer_cpu_offload_method",
        "offload_during_startup", "enable_group_offload", "musubi_blocks_to_swap", "ramtorch",
        "gradient_checkpointing_interval", "gradient_checkpointing_backend",
        "accelerator_cache_clear_interval", "ema_cpu_only", "ema_foreach_disable", "ema_device",
        "local_rank", "ddp_find_unused_parameters", "aws_max_pool_connections"] },
    Ignored { why: "caches are keyed by what they are made of", names: &[
        "compress_disk_cache", "preserve_data_backend_cache", "override_dataset_config",
        "vae_cache_preprocess", "vae_cache_ondemand", "vae_cache_scan_behaviour",
        "vae_cache_clear_each_epoch", "skip_file_discovery", "metadata_update_interval",
        "text_encoder_batch_size", "ignore_missing_files", "hash_filenames",
        "image_embeds"] },
    Ignored { why: "sizes are read from the pictures themselves", names: &[
        "width_column", "height_column", "metadata_backend"] },
    Ignored { why: "the bucket sizes are fixed, every picture is seen once a pass, and none is deleted", names: &[
        "aspect_bucket_rounding", "aspect_bucket_alignment", "disable_bucket_pruning", "data_backend_sampling",
        "delete_problematic_images", "delete_unwanted_images", "disable_segmented_timestep_sampling",
        "ignore_final_epochs", "strict_epoch_limit", "ignore_epochs", "scan_for_errors",
        "disable_validation"] },
    Ignored { why: "it has no effect on flow matching", names: &[
        "snr_gamma", "use_soft_min_snr", "noise_offset", "noise_offset_probability", "rescale_betas_zero_snr",
        "training_scheduler_timestep_spacing", "inference_scheduler_timestep_spacing", "timestep_spacing",
        "validation_noise_scheduler", "offset_noise", "input_perturbation"] },
    Ignored { why: "the one exported form loads everywhere", names: &[
        "lora_format", "peft_lora_format"] },
    Ignored { why: "it belongs to a feature that is not asked for", names: &[
        "text_encoder_lr", "validation_lycoris_strength", "validation_guidance_real",
        "validation_disable_unconditional", "model_flavour", "pretrained_vae_model_name_or_path",
        "pretrained_t5_model_name_or_path", "revision", "variant", "i_know_what_i_am_doing",
        "user_prompt_library_is_regularisation", "huber_schedule", "huber_c", "checkpoints_rolling_limit",
        "checkpointing_rolling_steps", "checkpoint_step_rolling_interval"] },
];

/// See [`Restricted`].
#[rustfmt::skip]
pub const RESTRICTED: &[Restricted] = &[
    Restricted { names: &["model_family"], accepted: &["sd3"],
        why: "only Stable Diffusion 3.5 is trained" },
    Restricted { names: &["model_type"], accepted: &["lora"],
        why: "only a LoRA is trained, never the full model" },
    Restricted { names: &["peft_lora_mode"], accepted: &["standard"],
        why: "a LoRA has two matrices" },
    Restricted { names: &["base_model_precision"], accepted: &["no_change"],
        why: "a quantised base model is not supported yet" },
    Restricted { names: &["train_text_encoder", "controlnet", "control"], accepted: &["false"],
        why: "only the diffusion transformer gets adapters" },
    Restricted { names: &["loss_type"], accepted: &["l2"],
        why: "the loss is the squared error" },
    Restricted { names: &["flow_matching_loss"], accepted: &["compatible", "sd35"],
        why: "the target is the velocity, noise - latents" },
    Restricted { names: &["precondition_outputs"], accepted: &["false", "0"],
        why: "the loss is that of the velocity, without preconditioning" },
    Restricted { names: &["flow_use_beta_schedule", "flux_use_beta_schedule", "flow_custom_timesteps"],
        accepted: &["false"],
        why: "sigma_density offers logit_normal, mode and uniform" },
    Restricted { names: &["grad_clip_method"], accepted: &["norm"],
        why: "gradients are clipped by their norm" },
    Restricted { names: &["lr_scale", "lr_scale_sqrt", "scale_lr"], accepted: &["false"],
        why: "learning_rate is taken as it is" },
    Restricted { names: &["ema_update_interval"], accepted: &["1"],
        why: "the average is updated at every step" },
    Restricted { names: &["ema_validation"], accepted: &["ema_only"],
        why: "with use_ema, images are drawn with the average alone" },
    Restricted { names: &["t5_padding"], accepted: &["unmodified"],
        why: "T5's padding is left as it is" },
    Restricted { names: &["sd3_clip_uncond_behaviour", "sd3_t5_uncond_behaviour"], accepted: &["empty_string"],
        why: "a dropped caption is the encoded empty text" },
    Restricted { names: &["resolution_type"], accepted: &["pixel", "pixel_area"],
        why: "resolution is the edge of the square bucket, in pixels" },
    Restricted { names: &["crop_aspect_buckets", "maximum_image_size", "target_downsample_size",
                          "minimum_aspect_ratio", "maximum_aspect_ratio", "max_num_samples",
                          "conditioning_data", "conditioning_type", "is_regularisation_data",
                          "is_regularization_data", "caption_shuffle", "start_step", "start_epoch", "end_step", "end_epoch"],
        accepted: &["false", "0"],
        why: "it is not supported yet" },
    Restricted { names: &["probability"], accepted: &["1", "1.0"],
        why: "every picture is seen once a pass; repeats makes it more often" },
    Restricted { names: &["num_validation_images"], accepted: &["1"],
        why: "one image is drawn for each prompt and size" },
    Restricted { names: &["validation_seed_source"], accepted: &["cpu"],
        why: "the first noise is that of torch's CPU generator" },
    Restricted { names: &["validation_guidance_rescale"], accepted: &["0", "0.0"],
        why: "guidance is not rescaled" },
    Restricted { names: &["validation_prompt_library"], accepted: &["false"],
        why: "there is no built-in library; user_prompt_library names one of your own" },
    Restricted { names: &["validation_using_datasets"], accepted: &["false"],
        why: "images are drawn from noise" },
    Restricted { names: &["deepspeed_config", "fsdp_enable", "distillation_method"], accepted: &["false"],
        why: "it is not supported" },
];

/// Every foreign name, for suggestions and for the check that no name is known twice.
pub fn names() -> impl Iterator<Item = &'static str> {
    IGNORED.iter().flat_map(|k| k.names).chain(RESTRICTED.iter().flat_map(|k| k.names)).copied()
}

/// What a name that is no setting turns out to be.
pub enum Foreign {
    /// No key of SimpleTuner that is known here.
    Unknown,
    /// A key whose value says what holds here anyhow.
    Holds,
    /// A key without effect, and why.
    Ignored(&'static str),
}

/// Looks up `name` among the foreign keys.
///
/// # Errors
/// A restricted key with a value that is not accepted.
pub fn accept(name: &str, value: &Value) -> Result<Foreign> {
    if let Some(ignored) = IGNORED.iter().find(|keys| keys.names.contains(&name)) {
        return Ok(Foreign::Ignored(ignored.why));
    }
    let Some(restricted) = RESTRICTED.iter().find(|keys| keys.names.contains(&name)) else {
        return Ok(Foreign::Unknown);
    };
    let text = match value {
        Value::Null => String::new(),
        Value::String(text) => text.trim().to_lowercase(),
        other => other.to_string(),
    };
    if text.is_empty() || restricted.accepted.contains(&text.as_str()) {
        return Ok(Foreign::Holds);
    }
    let accepted = restricted.accepted.iter().map(|a| format!("`{a}`")).collect::<Vec<_>>().join(" or ");
    Err(Error::setting(name, format!("{} is not supported: {}", shown(value), restricted.why))
        .hint(format!("remove the key, or set it to {accepted}")))
}
