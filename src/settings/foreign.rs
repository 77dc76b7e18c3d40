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
        "webhook_config", "webhook_reporting_interval", "modelspec_comment"] },
    Ignored { why: "no other program is started", names: &[
        "post_checkpoint_script", "post_upload_script", "disk_low_action", "disk_low_script",
        "disk_low_threshold", "accelerate_config", "accelerate_extra_args", "configs_dir",
        "merge_environment_config", "main_process_ip", "main_process_port", "machine_rank", "same_network"] },
    Ignored { why: "they are marks of a user interface", names: &[
        "ez_model_type", "__disabled_fields__", "__active_tab__"] },
    Ignored { why: "metrics.jsonl and tensorboard/ in the output folder hold what was measured", names: &[
        "report_to", "tracker_project_name", "tracker_run_name", "tracker_image_layout", "logging_dir",
        "print_filenames", "print_sampler_statistics", "custom_tracker", "debug_aspect_buckets",
        "debug_dataset_loader"] },
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
        "delete_model_after_load", "fully_unload_text_encoder", "keep_vae_loaded", "offload_during_save",
        "offload_param_path", "fuse_optimizer", "optimizer_offload_gradients", "sageattention_usage",
        "unet_attention_slice", "vae_enable_temporal_roll", "musubi_block_swap_device",
        "gradient_checkpointing_offload_attention", "gradient_checkpointing_offload_prefetch",
        "gradient_checkpointing_offload_pin_memory_max_buckets", "gradient_checkpointing_segment_stride",
        "enable_chunked_feed_forward", "feed_forward_chunk_size", "find_unused_parameters",
        "dynamo_use_regional_compilation", "checkpointing_use_tempdir", "trust_remote_code",
        "quantization_config", "validation_multigpu", "seed_for_each_device", "non_ema_revision",
        "aspect_bucket_worker_count", "context_parallel_comm_strategy",
        "local_rank", "ddp_find_unused_parameters", "aws_max_pool_connections"] },
    Ignored { why: "caches are keyed by what they are made of", names: &[
        "compress_disk_cache", "preserve_data_backend_cache", "override_dataset_config",
        "vae_cache_preprocess", "vae_cache_ondemand", "vae_cache_scan_behaviour",
        "vae_cache_clear_each_epoch", "vae_cache_disable", "text_cache_disable", "text_cache_ondemand",
        "text_embed_full_cache", "cache_clear_validation_prompts", "cache_file_suffix", "skip_file_discovery", "metadata_update_interval",
        "text_encoder_batch_size", "ignore_missing_files", "hash_filenames",
        "image_embeds"] },
    Ignored { why: "sizes are read from the pictures themselves", names: &[
        "width_column", "height_column", "metadata_backend"] },
    Ignored { why: "the bucket sizes are fixed, and no picture is deleted", names: &[
        "aspect_bucket_rounding", "aspect_bucket_alignment", "aspect_bucket_disable_rebuild",
        "disable_bucket_pruning", "allow_dataset_oversubscription",
        "conditioning_multidataset_sampling", "aspect_ratio_bucketing", "aspect_ratio_bucket_min",
        "aspect_ratio_bucket_max", "disable_segmented_timestep_sampling",
        "ignore_final_epochs", "strict_epoch_limit", "ignore_epochs", "scan_for_errors",
        "disable_validation"] },
    Ignored { why: "it has no effect on flow matching", names: &[
        "snr_gamma", "use_soft_min_snr", "noise_offset", "noise_offset_probability", "rescale_betas_zero_snr",
        "training_scheduler_timestep_spacing", "inference_scheduler_timestep_spacing", "timestep_spacing",
        "validation_noise_scheduler", "offset_noise", "input_perturbation", "input_perturbation_steps",
        "snr_weight", "soft_min_snr_sigma_data", "timestep_bias_strategy", "timestep_bias_begin",
        "timestep_bias_end", "timestep_bias_multiplier", "timestep_bias_portion",
        "refiner_training_strength", "refiner_training_invert_schedule", "validation_no_cfg_until_timestep"] },
    Ignored { why: "the one exported form loads everywhere", names: &[
        "lora_format", "peft_lora_format"] },
    Ignored { why: "it belongs to a feature that is not asked for", names: &[
        "text_encoder_lr", "validation_lycoris_strength", "validation_guidance_real",
        "validation_disable_unconditional", "pretrained_vae_model_name_or_path",
        "pretrained_t5_model_name_or_path", "variant",
        "user_prompt_library_is_regularisation", "huber_schedule", "huber_c", "masked_loss_probability",
        "assistant_lora_strength", "assistant_lora_inference_strength", "disable_assistant_lora",
        "init_lokr_norm", "init_lora_ema", "init_lora_step", "singlora_ramp_up_steps", "prodigy_steps",
        "controlnet_custom_config", "controlnet_model_name_or_path", "distillation_config",
        "diffusion_blocks_config", "freeze_encoder", "freeze_encoder_after", "freeze_encoder_before",
        "freeze_encoder_strategy", "text_encoder_limit", "save_text_encoder", "pretrained_evaluation_model_name_or_path",
        "pretrained_gemma_model_name_or_path", "pretrained_grounding_model_name_or_path",
        "max_grounding_entities", "smoldit_config", "evaluation_type", "eval_dataset_pooling",
        "eval_epoch_interval", "eval_loss_disable", "data_aesthetic_score", "enable_watermark", "framerate",
        "flow_beta_schedule_alpha", "flow_beta_schedule_beta", "flux_beta_schedule_alpha",
        "flux_beta_schedule_beta", "flow_timesteps_mode", "ema_warmup_steps", "validation_adapter_mode",
        "validation_adapter_name", "validation_adapter_strength", "validation_image_format",
        "validation_image_quality", "validation_external_background", "validation_num_video_frames",
        "validation_preview", "validation_preview_steps", "validation_stitch_input_location",
        "validation_internal_guidance_scale",         "enable_nsfw_check", "benchmark_base_model", "checkpoints_rolling_total_limit", "slider_strength", "checkpoints_rolling_limit",
        "checkpointing_rolling_steps", "checkpoint_step_rolling_interval"] },
];

/// How keys begin that belong to other models, or to features that other keys switch on.
const ELSEWHERE: &[&str] = &[
    "ace_step_",
    "audio_",
    "chroma_",
    "cosmos",
    "crepa_",
    "deepfloyd_",
    "diff2flow_",
    "flux_",
    "fsdp_",
    "group_offload_",
    "hidream_",
    "internal_guidance_",
    "irepa_",
    "kandinsky",
    "layersync_",
    "ltx",
    "lumina",
    "mixflow_",
    "nextlat_",
    "nsfw_check_",
    "omnigen",
    "pixart_",
    "qwen_",
    "ramtorch_",
    "sana_",
    "scheduled_sampling_",
    "sdnq_",
    "sdxl_",
    "twinflow_",
    "urepa_",
    "wan_",
    "xm_",
];

/// See [`Restricted`].
#[rustfmt::skip]
pub const RESTRICTED: &[Restricted] = &[
    Restricted { names: &["delete_unwanted_images", "delete_problematic_images", "delete_nsfw_images",
                          "delete_invalid_checkpoints"], accepted: &["false"],
        why: "nothing is ever deleted; pictures that cannot be used are named, and skip_broken_images leaves them out" },
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
    Restricted { names: &["conditioning_data", "conditioning_type", "start_step", "start_epoch", "end_step", "end_epoch"],
        accepted: &["false", "0"],
        why: "it is not supported yet" },
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
    Restricted { names: &["validation_disable"], accepted: &["false"],
        why: "leave out validation_prompt and user_prompt_library to draw nothing" },
    Restricted { names: &["validation_method"], accepted: &["simpletuner-local", "local", "default"],
        why: "images are drawn by the program itself" },
    Restricted { names: &["validation_input", "validation_external_script", "validation_adapter_path",
                          "validation_adapter_config", "validation_randomize"], accepted: &["false"],
        why: "images are drawn from the run's own LoRA, prompts and seed" },
    Restricted { names: &["validation_on_startup"], accepted: &["false"],
        why: "images are drawn before the first step anyhow, unless disable_benchmark says otherwise" },
    Restricted { names: &["validate_after_step", "validate_after_epoch", "validation_epoch_interval",
                          "checkpoint_epoch_interval"], accepted: &["false", "0"],
        why: "intervals are counted in steps" },
    Restricted { names: &["layer_freeze_strategy"], accepted: &["none"],
        why: "only adapters are trained" },
    Restricted { names: &["prediction_type"], accepted: &["flow_matching", "flow"],
        why: "SD3.5 predicts the velocity" },
    Restricted { names: &["sd3_t5_mask_behaviour"], accepted: &["do-nothing"],
        why: "padding of captions is left as it is" },
    Restricted { names: &["num_processes", "num_machines", "context_parallel_size"], accepted: &["1"],
        why: "one device trains" },
    Restricted { names: &["pretrained_transformer_model_name_or_path", "pretrained_transformer_subfolder",
                          "pretrained_unet_model_name_or_path", "pretrained_unet_subfolder"], accepted: &["false"],
        why: "the transformer is the model's own" },
    Restricted { names: &["assistant_lora_path"], accepted: &["false"],
        why: "merge it into the model first" },
    Restricted { names: &["max_upscale_threshold", "timestep_sampling_offset", "source_dataset_id",
                          "conditioning", "conditioning_image_embeds"], accepted: &["false", "0", "0.0"],
        why: "it is not supported" },
    Restricted { names: &["flow_cubic_schedule_weights", "scheduled_sampling_probability", "crepa_enabled",
                          "diff2flow_enabled", "twinflow_enabled", "layersync_enabled", "mixflow_enabled",
                          "irepa_enabled", "urepa_enabled", "nextlat_enabled", "internal_guidance_enabled",
                          "xm_enabled", "smoldit", "refiner_training", "tread_config", "sla_config",
                          "slider_lora_target"], accepted: &["false", "0", "0.0"],
        why: "it is not supported" },
    Restricted { names: &["deepspeed_config", "fsdp_enable", "distillation_method"], accepted: &["false", "none"],
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

/// Why a key that begins as one of [`ELSEWHERE`] has no effect.
const OF_ANOTHER: &str = "it belongs to another model, or to a feature that is not asked for";

/// Looks up `name` among the foreign keys.
///
/// # Errors
/// A restricted key with a value that is not accepted.
pub fn accept(name: &str, value: &Value) -> Result<Foreign> {
    if value.is_null() || value.as_str().is_some_and(|text| text.trim().is_empty()) {
        let is_known = names().chain(ELSEWHERE.iter().copied()).any(|known| name.starts_with(known));
        return Ok(if is_known { Foreign::Holds } else { Foreign::Unknown });
    }
    if let Some(ignored) = IGNORED.iter().find(|keys| keys.names.contains(&name)) {
        return Ok(Foreign::Ignored(ignored.why));
    }
    let Some(restricted) = RESTRICTED.iter().find(|keys| keys.names.contains(&name)) else {
        let is_elsewhere = ELSEWHERE.iter().any(|beginning| name.starts_with(beginning));
        return Ok(if is_elsewhere { Foreign::Ignored(OF_ANOTHER) } else { Foreign::Unknown });
    };
    hold_to(restricted, name, value).map(|()| Foreign::Holds)
}

/// Makes sure that `value` says what holds here anyhow.
///
/// # Errors
/// Any other value.
pub fn hold_to(restricted: &Restricted, name: &str, value: &Value) -> Result<()> {
    let text = match value {
        Value::Null => String::new(),
        Value::String(text) => text.trim().to_lowercase(),
        other => other.to_string(),
    };
    if text.is_empty() || restricted.accepted.contains(&text.as_str()) {
        return Ok(());
    }
    let accepted = restricted.accepted.iter().map(|a| format!("`{a}`")).collect::<Vec<_>>().join(" or ");
    Err(Error::setting(name, format!("{} is not supported: {}", shown(value), restricted.why))
        .hint(format!("remove the key, or set it to {accepted}")))
}
