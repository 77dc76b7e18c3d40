//! Names of the MMDiT's linear layers in the two layouts, as they appear in adapter files, and what tools put before
//! them.
//!
//! Files write a name with dots or flattened with underscores; both are looked up in the flattened form, which is
//! unambiguous over these tables.

/// A layer of a joint block: (path under `joint_blocks.i.`, paths under `transformer_blocks.i.`).
/// Several diffusers paths are equal chunks of the fused layer's output rows, in order.
const BLOCK_LAYERS: [(&str, &[&str]); 12] = [
    ("x_block.attn.qkv", &["attn.to_q", "attn.to_k", "attn.to_v"]),
    ("x_block.attn.proj", &["attn.to_out.0"]),
    ("x_block.attn2.qkv", &["attn2.to_q", "attn2.to_k", "attn2.to_v"]),
    ("x_block.attn2.proj", &["attn2.to_out.0"]),
    ("x_block.mlp.fc1", &["ff.net.0.proj"]),
    ("x_block.mlp.fc2", &["ff.net.2"]),
    ("x_block.adaLN_modulation.1", &["norm1.linear"]),
    ("context_block.attn.qkv", &["attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj"]),
    ("context_block.attn.proj", &["attn.to_add_out"]),
    ("context_block.mlp.fc1", &["ff_context.net.0.proj"]),
    ("context_block.mlp.fc2", &["ff_context.net.2"]),
    ("context_block.adaLN_modulation.1", &[LAST_CONTEXT_NORM]),
];

/// A layer outside the blocks: (single-file path, diffusers path).
const OUTER_LAYERS: [(&str, &str); 7] = [
    ("context_embedder", "context_embedder"),
    ("t_embedder.mlp.0", "time_text_embed.timestep_embedder.linear_1"),
    ("t_embedder.mlp.2", "time_text_embed.timestep_embedder.linear_2"),
    ("y_embedder.mlp.0", "time_text_embed.text_embedder.linear_1"),
    ("y_embedder.mlp.2", "time_text_embed.text_embedder.linear_2"),
    ("final_layer.adaLN_modulation.1", FINAL_NORM),
    ("final_layer.linear", "proj_out"),
];

const FINAL_NORM: &str = "norm_out.linear";
const LAST_CONTEXT_NORM: &str = "norm1_context.linear";

/// What tools put before a layer's name, and who does.
const PREFIXES: [(&str, &str); 8] = [
    ("base_model.model.", "PEFT"),
    ("transformer.", "diffusers"),
    ("model.diffusion_model.", "ComfyUI"),
    ("diffusion_model.", "ComfyUI"),
    ("lora_transformer_", "OneTrainer"),
    ("lycoris_", "LyCORIS"),
    ("lora_prior_unet_", "kohya"),
    ("lora_unet_", "kohya"),
];

/// What stands before the names of the text encoders' layers, and which encoder it is.
const TEXT_ENCODERS: [(&str, &str); 16] = [
    ("text_encoder_3.", "T5"),
    ("text_encoder_2.", "CLIP-G"),
    ("text_encoder.", "CLIP-L"),
    ("text_encoders.clip_l.", "CLIP-L"),
    ("text_encoders.clip_g.", "CLIP-G"),
    ("text_encoders.t5xxl.", "T5"),
    ("clip_l.", "CLIP-L"),
    ("clip_g.", "CLIP-G"),
    ("t5xxl.", "T5"),
    ("lora_te1_", "CLIP-L"),
    ("lora_te2_", "CLIP-G"),
    ("lora_te3_", "T5"),
    ("lora_te_", "CLIP-L"),
    ("lycoris_te1_", "CLIP-L"),
    ("lycoris_te2_", "CLIP-G"),
    ("bundle_emb.", "new tokens"),
];

/// The layers that one LoRA pair of a file belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Layer {
    /// Paths in the diffusers transformer; several share A and take equal row chunks of B.
    pub modules: Vec<String>,
    /// Whether the name is of the single-file layout, whose final modulations come as shift, scale.
    pub single_file: bool,
}

impl Layer {
    /// Whether the halves of B's rows trade places on the way to the diffusers layout: only in the final norm, and in
    /// the last block's text norm, which is told by its two chunks of the width where other blocks have six.
    pub fn swaps_halves(&self, in_features: usize, out_features: usize) -> bool {
        self.single_file && self.modules.iter().any(|module| swaps_halves(module, in_features, out_features))
    }
}

/// Whether the halves of the rows of the layer `module` are in the opposite order in the single-file layout.
pub(super) fn swaps_halves(module: &str, in_features: usize, out_features: usize) -> bool {
    module == FINAL_NORM || module.ends_with(LAST_CONTEXT_NORM) && out_features == 2 * in_features
}

/// Finds the layer of a name as written in a file (without the adapter's suffix); `None` if SD3.5 has no such layer.
pub(super) fn find(name: &str) -> Option<Layer> {
    let mut flat = flattened(bare(name)).replace("_processor_", "_");
    // Attention processors of old diffusers files leave out the place in the list.
    if flat.ends_with("_to_out") {
        flat.push_str("_0");
    }
    find_in_block(&flat).or_else(|| find_outside(&flat))
}

/// The name without what tools put before it.
fn bare(name: &str) -> &str {
    PREFIXES.iter().fold(name, |name, (prefix, _)| name.strip_prefix(prefix).unwrap_or(name))
}

/// Whose way of naming layers `name` follows; `None` if it has no prefix that anybody uses.
pub(super) fn naming(name: &str) -> Option<&'static str> {
    PREFIXES.iter().find(|(prefix, _)| name.starts_with(prefix)).map(|(_, tool)| *tool)
}

/// The text encoder that a key or name belongs to.
pub(super) fn text_encoder(name: &str) -> Option<&'static str> {
    let name = name.strip_prefix("base_model.model.").unwrap_or(name);
    TEXT_ENCODERS.iter().find(|(prefix, _)| name.starts_with(prefix)).map(|(_, encoder)| *encoder)
}

/// The path of the single-file layout that the diffusers path `module` is a part of, and which of how many equal
/// parts; `None` if SD3.5 has no such layer.
pub(super) fn single_file(module: &str) -> Option<(String, usize, usize)> {
    if let Some((block, layer)) =
        module.strip_prefix("transformer_blocks.").and_then(|rest| rest.split_once('.'))
    {
        return BLOCK_LAYERS.iter().find_map(|(single, parts)| {
            let part = parts.iter().position(|part| *part == layer)?;
            Some((format!("joint_blocks.{block}.{single}"), part, parts.len()))
        });
    }
    let (single, _) = OUTER_LAYERS.iter().find(|(_, diffusers)| *diffusers == module)?;
    Some(((*single).to_owned(), 0, 1))
}

/// Whether the layer is one of three that the single-file layout has as one.
pub(super) fn is_part_of_three(module: &str) -> bool {
    single_file(module).is_some_and(|(_, _, parts)| parts == 3)
}

fn find_in_block(flat: &str) -> Option<Layer> {
    if let Some((block, layer)) = flat.strip_prefix("joint_blocks_").and_then(split_block) {
        let (_, modules) = BLOCK_LAYERS.iter().find(|(single, _)| flattened(single) == layer)?;
        let modules = modules.iter().map(|module| block_path(block, module)).collect();
        return Some(Layer { modules, single_file: true });
    }
    let (block, layer) = flat.strip_prefix("transformer_blocks_").and_then(split_block)?;
    let mut modules = BLOCK_LAYERS.iter().flat_map(|(_, modules)| modules.iter());
    let module = modules.find(|module| flattened(module) == layer)?;
    Some(Layer { modules: vec![block_path(block, module)], single_file: false })
}

fn find_outside(flat: &str) -> Option<Layer> {
    OUTER_LAYERS.iter().find_map(|(single, diffusers)| {
        let layer = |single_file| Layer { modules: vec![(*diffusers).to_owned()], single_file };
        if flattened(diffusers) == flat {
            Some(layer(false))
        } else {
            (flattened(single) == flat).then(|| layer(true))
        }
    })
}

fn split_block(rest: &str) -> Option<(usize, &str)> {
    let (block, layer) = rest.split_once('_')?;
    // No model has a thousand blocks; a file that says so is damaged.
    let is_number = block.len() <= 3 && block.bytes().all(|byte| byte.is_ascii_digit());
    if is_number { Some((block.parse().ok()?, layer)) } else { None }
}

fn block_path(block: usize, module: &str) -> String {
    format!("transformer_blocks.{block}.{module}")
}

/// A path as it stands in flattened names.
pub(super) fn flattened(path: &str) -> String {
    path.replace('.', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_both_layouts_and_all_tools_are_found() {
        for name in [
            "transformer.transformer_blocks.7.attn.to_out.0",
            "base_model.model.transformer_blocks.7.attn.to_out.0",
            "transformer_blocks.7.attn.to_out.0",
            "lora_transformer_transformer_blocks_7_attn_to_out_0",
            "lycoris_transformer_blocks_7_attn_to_out_0",
            "lora_unet_joint_blocks_7_x_block_attn_proj",
            "diffusion_model.joint_blocks.7.x_block.attn.proj",
        ] {
            assert_eq!(find(name).unwrap().modules, ["transformer_blocks.7.attn.to_out.0"], "{name}");
        }
        let fused = find("lora_unet_joint_blocks_12_context_block_attn_qkv").unwrap();
        assert_eq!(fused.modules.len(), 3);
        assert_eq!(fused.modules[2], "transformer_blocks.12.attn.add_v_proj");
        assert_eq!(find("lora_unet_final_layer_adaLN_modulation_1").unwrap().modules, ["norm_out.linear"]);
    }

    #[test]
    fn attention_processors_of_old_files_are_found() {
        let found = |name: &str| find(name).unwrap().modules[0].clone();
        assert_eq!(
            found("transformer.transformer_blocks.1.attn.processor.to_q"),
            "transformer_blocks.1.attn.to_q"
        );
        assert_eq!(
            found("transformer.transformer_blocks.1.attn.to_out"),
            "transformer_blocks.1.attn.to_out.0"
        );
    }

    #[test]
    fn single_file_paths_are_found_and_lead_back() {
        assert_eq!(
            single_file("transformer_blocks.3.attn.add_k_proj"),
            Some(("joint_blocks.3.context_block.attn.qkv".to_owned(), 1, 3))
        );
        assert_eq!(single_file("proj_out"), Some(("final_layer.linear".to_owned(), 0, 1)));
        assert_eq!(single_file("transformer_blocks.3.attn.to_z"), None);
    }

    #[test]
    fn text_encoders_are_told_apart() {
        for (name, encoder) in [
            ("lora_te3_encoder_block_0_layer_0_SelfAttention_q", Some("T5")),
            ("text_encoder_2.text_model.encoder.layers.0.mlp.fc1", Some("CLIP-G")),
            ("text_encoders.clip_l.transformer.text_model", Some("CLIP-L")),
            ("transformer.transformer_blocks.0.attn.to_q", None),
        ] {
            assert_eq!(text_encoder(name), encoder, "{name}");
        }
    }

    #[test]
    fn layers_of_other_models_are_not_found() {
        for name in [
            "lora_te1_text_model_encoder_layers_0_mlp_fc1",
            "lora_unet_down_blocks_0_attentions_0_proj_in",
            "transformer.transformer_blocks.x.attn.to_q",
            "transformer.transformer_blocks.0.attn.to_z",
            "transformer.single_transformer_blocks.0.attn.to_q",
            "",
        ] {
            assert_eq!(find(name), None, "{name}");
        }
    }

    #[test]
    fn halves_trade_places_in_two_layers_of_the_single_file_only() {
        let swaps = |name: &str, out| find(name).unwrap().swaps_halves(64, out);
        assert!(swaps("lora_unet_final_layer_adaLN_modulation_1", 128));
        assert!(swaps("lora_unet_joint_blocks_3_context_block_adaLN_modulation_1", 128));
        assert!(!swaps("lora_unet_joint_blocks_2_context_block_adaLN_modulation_1", 384));
        assert!(!swaps("lora_unet_joint_blocks_3_x_block_adaLN_modulation_1", 384));
        assert!(!swaps("transformer.norm_out.linear", 128));
        assert!(!swaps("transformer.transformer_blocks.3.norm1_context.linear", 128));
    }
}
