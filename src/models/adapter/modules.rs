//! Every linear layer of the transformer under its diffusers name, and the rows of the weight that it is.

use crate::models::mmdit::MmditConfig;
use crate::models::mmdit::config::{PATCH, TIME_FEATURES, block_name};
use std::ops::Range;

/// One linear layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Module {
    /// diffusers' path: `transformer_blocks.0.attn.to_q`.
    pub path: String,
    /// Canonical name of its weight, without `.weight`.
    pub weight: String,
    /// Its rows of that weight.
    pub rows: Range<usize>,
    /// All rows of that weight.
    pub weight_rows: usize,
    /// Columns of its input.
    pub inputs: usize,
    /// Whether it lies in a block and is no modulation layer: what can be trained.
    pub trainable: bool,
    /// Whether diffusers stores its rows as (scale, shift) where the weight has (shift, scale).
    pub halves_swapped: bool,
}

impl Module {
    /// The transformer block that it lies in, if it lies in one.
    pub fn block(&self) -> Option<usize> {
        self.path.strip_prefix("transformer_blocks.")?.split('.').next()?.parse().ok()
    }

    /// Its name inside its block, such as `attn.to_q`; outside the blocks the whole path.
    pub fn name_in_block(&self) -> &str {
        match self.block() {
            Some(_) => self.path.splitn(3, '.').nth(2).unwrap_or_default(),
            None => &self.path,
        }
    }
}

/// All linear layers, block by block, then those outside.
pub fn modules(config: &MmditConfig) -> Vec<Module> {
    let d = config.width;
    let mut all = Vec::new();
    for block in 0..config.depth {
        all.extend(block_modules(config, block));
    }
    let outside = |path: &str, weight: &str, outputs: usize, inputs: usize, halves_swapped: bool| Module {
        path: path.to_owned(),
        weight: weight.to_owned(),
        rows: 0..outputs,
        weight_rows: outputs,
        inputs,
        trainable: false,
        halves_swapped,
    };
    let time = "time_text_embed.timestep_embedder";
    let text = "time_text_embed.text_embedder";
    all.extend([
        outside("context_embedder", "context_embedder", d, config.context_width, false),
        outside(&format!("{time}.linear_1"), "t_embedder.mlp.0", d, TIME_FEATURES, false),
        outside(&format!("{time}.linear_2"), "t_embedder.mlp.2", d, d, false),
        outside(&format!("{text}.linear_1"), "y_embedder.mlp.0", d, config.pooled_width, false),
        outside(&format!("{text}.linear_2"), "y_embedder.mlp.2", d, d, false),
        outside("norm_out.linear", "final_layer.adaLN_modulation.1", 2 * d, d, true),
        outside("proj_out", "final_layer.linear", config.channels * PATCH * PATCH, d, false),
    ]);
    all
}

/// The linear layers of one block: 14, 4 more with a second attention, 3 fewer in the last block.
fn block_modules(config: &MmditConfig, block: usize) -> Vec<Module> {
    let (d, mlp, last) = (config.width, config.mlp_width, config.is_last(block));
    let mut all = Vec::new();
    let mut add = |path: &str, weight: &str, rows: Range<usize>, inputs: usize| {
        let modulation = path.starts_with("norm1");
        all.push(Module {
            path: format!("transformer_blocks.{block}.{path}"),
            weight: block_name(block, weight),
            weight_rows: if weight.ends_with("qkv") { 3 * d } else { rows.end },
            rows,
            inputs,
            trainable: !modulation,
            halves_swapped: last && path == "norm1_context.linear",
        });
    };
    let part = |index: usize| index * d..(index + 1) * d;
    for (index, name) in ["q", "k", "v"].into_iter().enumerate() {
        add(&format!("attn.to_{name}"), "x_block.attn.qkv", part(index), d);
    }
    add("attn.to_out.0", "x_block.attn.proj", 0..d, d);
    for (index, name) in ["q", "k", "v"].into_iter().enumerate() {
        add(&format!("attn.add_{name}_proj"), "context_block.attn.qkv", part(index), d);
    }
    if !last {
        add("attn.to_add_out", "context_block.attn.proj", 0..d, d);
    }
    if config.dual_attention[block] {
        for (index, name) in ["q", "k", "v"].into_iter().enumerate() {
            add(&format!("attn2.to_{name}"), "x_block.attn2.qkv", part(index), d);
        }
        add("attn2.to_out.0", "x_block.attn2.proj", 0..d, d);
    }
    add("ff.net.0.proj", "x_block.mlp.fc1", 0..mlp, d);
    add("ff.net.2", "x_block.mlp.fc2", 0..d, mlp);
    if !last {
        add("ff_context.net.0.proj", "context_block.mlp.fc1", 0..mlp, d);
        add("ff_context.net.2", "context_block.mlp.fc2", 0..d, mlp);
    }
    add("norm1.linear", "x_block.adaLN_modulation.1", 0..config.image_chunks(block) * d, d);
    add("norm1_context.linear", "context_block.adaLN_modulation.1", 0..config.text_chunks(block) * d, d);
    all
}
