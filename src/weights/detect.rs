//! What a model file is, told by the names of its tensors and never by the name of the file.

use super::sources::TensorSet;
use crate::error::{Error, Result};

const NEEDED: &str = "name a Stable Diffusion 3.5 model (Large, Large Turbo or Medium)";

/// Fails, saying what the files are instead, unless they hold the MMDiT of Stable Diffusion 3.5.
pub(super) fn require_sd35(tensors: &TensorSet) -> Result<()> {
    let wrong = |cause: &str, hint: &str| Err(Error::weights(tensors.path(), cause).hint(hint));
    let any = |test: &dyn Fn(&str) -> bool| tensors.names().any(|name| test(bare(name)));
    if tensors.names().next().is_none() {
        return wrong("there are no tensors in this file", NEEDED);
    }
    if any(&is_adapter) {
        let hint = "name the base model here; a LoRA is not a model of its own";
        return wrong("this is a LoRA, not a model", hint);
    }
    if any(&|name| name.starts_with("double_blocks.") || name.starts_with("single_transformer_blocks.")) {
        return wrong("this is a Flux model", NEEDED);
    }
    if any(&is_unet) {
        let is_xl =
            |name: &str| ["label_emb.", "add_embedding.", "conditioner."].iter().any(|p| name.starts_with(p));
        let cause = if any(&is_xl) {
            "this is a Stable Diffusion XL model"
        } else {
            "this is a Stable Diffusion 1 or 2 model"
        };
        return wrong(cause, NEEDED);
    }
    if any(&is_mmdit) {
        return if any(&has_qk_norm) {
            Ok(())
        } else {
            wrong("this is Stable Diffusion 3.0: its attention has no QK norm", NEEDED)
        };
    }
    if any(&|name| name.ends_with("decoder.conv_in.weight")) {
        return wrong("this file holds a VAE only", NEEDED);
    }
    if any(&|name| name.contains("encoder.layers.0.") || name.contains("encoder.block.0.")) {
        return wrong("this file holds a text encoder only", NEEDED);
    }
    wrong("this is not a model that is known here", NEEDED)
}

/// The name without what single files put before the denoiser's names.
fn bare(name: &str) -> &str {
    ["model.diffusion_model.", "diffusion_model."].iter().find_map(|p| name.strip_prefix(p)).unwrap_or(name)
}

fn is_adapter(name: &str) -> bool {
    const MARKS: [&str; 9] = [
        ".lora_A.",
        ".lora_B.",
        ".lora_up.",
        ".lora_down.",
        ".lora.up.",
        ".lora.down.",
        ".lokr_w",
        ".hada_w",
        ".dora_scale",
    ];
    MARKS.iter().any(|mark| name.contains(mark))
}

fn is_unet(name: &str) -> bool {
    name.starts_with("input_blocks.") || name.starts_with("time_embedding.linear_1")
}

fn is_mmdit(name: &str) -> bool {
    name.starts_with("joint_blocks.0.")
        || name.starts_with("transformer_blocks.0.attn.add_k_proj.")
        || name.starts_with("transformer_blocks.0.norm1_context.")
}

fn has_qk_norm(name: &str) -> bool {
    name == "joint_blocks.0.context_block.attn.ln_k.weight"
        || name == "transformer_blocks.0.attn.norm_added_k.weight"
}
