//! The MMDiT. diffusers keeps q, k and v apart and the modulation of the last layers as (scale, shift).

use super::{Rows, Rule, Table};

/// MMDiT-X: Stability's names, fused q, k, v rows, modulation of the last layers as (shift, scale).
pub static MMDIT: Table = Table {
    part: "MMDiT",
    prefixes: &["", "model.diffusion_model.", "diffusion_model."],
    rules: &[
        Rule::named("pos_embed", &["pos_embed.pos_embed"]),
        Rule::named("x_embedder.proj.{p}", &["pos_embed.proj.{p}"]),
        Rule::named("t_embedder.mlp.0.{p}", &["time_text_embed.timestep_embedder.linear_1.{p}"]),
        Rule::named("t_embedder.mlp.2.{p}", &["time_text_embed.timestep_embedder.linear_2.{p}"]),
        Rule::named("y_embedder.mlp.0.{p}", &["time_text_embed.text_embedder.linear_1.{p}"]),
        Rule::named("y_embedder.mlp.2.{p}", &["time_text_embed.text_embedder.linear_2.{p}"]),
        Rule::same(&["context_embedder.{p}"]),
        Rule::named(
            "joint_blocks.{i}.x_block.adaLN_modulation.1.{p}",
            &["transformer_blocks.{i}.norm1.linear.{p}"],
        ),
        Rule::named(
            "joint_blocks.{i}.context_block.adaLN_modulation.1.{p}",
            &["transformer_blocks.{i}.norm1_context.linear.{p}"],
        )
        .rows(Rows::HalvesSwappedInLastBlock),
        Rule::named(
            "joint_blocks.{i}.x_block.attn.qkv.{p}",
            &[
                "transformer_blocks.{i}.attn.to_q.{p}",
                "transformer_blocks.{i}.attn.to_k.{p}",
                "transformer_blocks.{i}.attn.to_v.{p}",
            ],
        ),
        Rule::named(
            "joint_blocks.{i}.context_block.attn.qkv.{p}",
            &[
                "transformer_blocks.{i}.attn.add_q_proj.{p}",
                "transformer_blocks.{i}.attn.add_k_proj.{p}",
                "transformer_blocks.{i}.attn.add_v_proj.{p}",
            ],
        ),
        Rule::named("joint_blocks.{i}.x_block.attn.ln_q.{p}", &["transformer_blocks.{i}.attn.norm_q.{p}"]),
        Rule::named("joint_blocks.{i}.x_block.attn.ln_k.{p}", &["transformer_blocks.{i}.attn.norm_k.{p}"]),
        Rule::named(
            "joint_blocks.{i}.context_block.attn.ln_q.{p}",
            &["transformer_blocks.{i}.attn.norm_added_q.{p}"],
        ),
        Rule::named(
            "joint_blocks.{i}.context_block.attn.ln_k.{p}",
            &["transformer_blocks.{i}.attn.norm_added_k.{p}"],
        ),
        Rule::named("joint_blocks.{i}.x_block.attn.proj.{p}", &["transformer_blocks.{i}.attn.to_out.0.{p}"]),
        Rule::named(
            "joint_blocks.{i}.context_block.attn.proj.{p}",
            &["transformer_blocks.{i}.attn.to_add_out.{p}"],
        ),
        Rule::named(
            "joint_blocks.{i}.x_block.attn2.qkv.{p}",
            &[
                "transformer_blocks.{i}.attn2.to_q.{p}",
                "transformer_blocks.{i}.attn2.to_k.{p}",
                "transformer_blocks.{i}.attn2.to_v.{p}",
            ],
        ),
        Rule::named("joint_blocks.{i}.x_block.attn2.ln_q.{p}", &["transformer_blocks.{i}.attn2.norm_q.{p}"]),
        Rule::named("joint_blocks.{i}.x_block.attn2.ln_k.{p}", &["transformer_blocks.{i}.attn2.norm_k.{p}"]),
        Rule::named(
            "joint_blocks.{i}.x_block.attn2.proj.{p}",
            &["transformer_blocks.{i}.attn2.to_out.0.{p}"],
        ),
        Rule::named("joint_blocks.{i}.x_block.mlp.fc1.{p}", &["transformer_blocks.{i}.ff.net.0.proj.{p}"]),
        Rule::named("joint_blocks.{i}.x_block.mlp.fc2.{p}", &["transformer_blocks.{i}.ff.net.2.{p}"]),
        Rule::named(
            "joint_blocks.{i}.context_block.mlp.fc1.{p}",
            &["transformer_blocks.{i}.ff_context.net.0.proj.{p}"],
        ),
        Rule::named(
            "joint_blocks.{i}.context_block.mlp.fc2.{p}",
            &["transformer_blocks.{i}.ff_context.net.2.{p}"],
        ),
        Rule::named("final_layer.adaLN_modulation.1.{p}", &["norm_out.linear.{p}"]).rows(Rows::HalvesSwapped),
        Rule::named("final_layer.linear.{p}", &["proj_out.{p}"]),
    ],
};
