//! The text encoders, which carry the names of transformers everywhere.

use super::{Rule, Table};

/// CLIP-L.
pub static CLIP_L: Table = Table {
    part: "CLIP-L text encoder",
    prefixes: &["", "text_encoders.clip_l.transformer.", "clip_l.transformer."],
    rules: CLIP,
};

/// OpenCLIP bigG.
pub static CLIP_G: Table = Table {
    part: "CLIP-G text encoder",
    prefixes: &["", "text_encoders.clip_g.transformer.", "clip_g.transformer."],
    rules: CLIP,
};

/// T5; the embedding may be stored under either of its two names.
pub static T5: Table = Table {
    part: "T5 text encoder",
    prefixes: &["", "text_encoders.t5xxl.transformer.", "t5xxl.transformer."],
    rules: &[
        Rule::same(&["shared.weight"]),
        Rule::named("shared.weight", &["encoder.embed_tokens.weight"]),
        Rule::same(&["encoder.block.{i}.layer.0.layer_norm.weight"]),
        Rule::same(&["encoder.block.{i}.layer.0.SelfAttention.q.weight"]),
        Rule::same(&["encoder.block.{i}.layer.0.SelfAttention.k.weight"]),
        Rule::same(&["encoder.block.{i}.layer.0.SelfAttention.v.weight"]),
        Rule::same(&["encoder.block.{i}.layer.0.SelfAttention.o.weight"]),
        Rule::same(&["encoder.block.{i}.layer.0.SelfAttention.relative_attention_bias.weight"]),
        Rule::same(&["encoder.block.{i}.layer.1.layer_norm.weight"]),
        Rule::same(&["encoder.block.{i}.layer.1.DenseReluDense.wi_0.weight"]),
        Rule::same(&["encoder.block.{i}.layer.1.DenseReluDense.wi_1.weight"]),
        Rule::same(&["encoder.block.{i}.layer.1.DenseReluDense.wo.weight"]),
        Rule::same(&["encoder.final_layer_norm.weight"]),
    ],
};

const CLIP: &[Rule] = &[
    Rule::same(&["text_model.embeddings.token_embedding.weight"]),
    Rule::same(&["text_model.embeddings.position_embedding.weight"]),
    Rule::same(&["text_model.encoder.layers.{i}.layer_norm1.{p}"]),
    Rule::same(&["text_model.encoder.layers.{i}.layer_norm2.{p}"]),
    Rule::same(&["text_model.encoder.layers.{i}.self_attn.q_proj.{p}"]),
    Rule::same(&["text_model.encoder.layers.{i}.self_attn.k_proj.{p}"]),
    Rule::same(&["text_model.encoder.layers.{i}.self_attn.v_proj.{p}"]),
    Rule::same(&["text_model.encoder.layers.{i}.self_attn.out_proj.{p}"]),
    Rule::same(&["text_model.encoder.layers.{i}.mlp.fc1.{p}"]),
    Rule::same(&["text_model.encoder.layers.{i}.mlp.fc2.{p}"]),
    Rule::same(&["text_model.final_layer_norm.{p}"]),
    Rule::same(&["text_projection.weight"]),
];
