//! The transformer: from noisy latents, prompt embeddings and modulation vectors to the velocity.

use crate::autograd::{Persistent, Program, Retention};
use crate::error::Result;
use crate::kernels::Shapes;
use crate::kernels::activation::Activation;
use crate::kernels::attention::{Heads, Mask, Stream};
use crate::kernels::gated_residual::Gate;
use crate::kernels::layer_norm::Modulation;
use crate::kernels::qk_norm::Part;
use crate::models::adapter::Adapters;
use crate::models::mmdit::config::{HEAD_DIM, MmditConfig, PATCH, block_name};
use crate::models::mmdit::modulation::ModulationVectors;
use crate::ops::activation::activate;
use crate::ops::attention::attention;
use crate::ops::linear::linear;
use crate::ops::modulation::{gated_residual, layer_norm_modulate};
use crate::ops::patches::{add_positions, patchify, unpatchify};
use crate::ops::qk_norm::qk_norm;
use crate::tensor::TensorId;
use std::ops::Range;

/// What the transformer takes.
#[derive(Debug, Clone)]
pub struct TransformerInputs {
    /// Noisy latents, `[b, channels, h, w]`.
    pub latents: TensorId,
    /// Prompt embeddings, `[b, text tokens, context width]`.
    pub prompt_embeds: TensorId,
    /// Positions of the patches, `[h/2 * w/2, width]`.
    pub positions: TensorId,
    /// Modulation vectors of every sample.
    pub modulation: ModulationVectors,
}

/// Chunks of a stream's modulation vectors, in the order that the model file has.
mod chunk {
    pub const SHIFT_ATTENTION: usize = 0;
    pub const SCALE_ATTENTION: usize = 1;
    pub const GATE_ATTENTION: usize = 2;
    pub const SHIFT_MLP: usize = 3;
    pub const SCALE_MLP: usize = 4;
    pub const GATE_MLP: usize = 5;
    pub const SHIFT_ATTENTION_2: usize = 6;
    pub const SCALE_ATTENTION_2: usize = 7;
    pub const GATE_ATTENTION_2: usize = 8;
}

/// Records the transformer and returns the velocity, `[b, channels, h, w]`.
pub fn record_transformer(
    program: &mut Program,
    config: &MmditConfig,
    adapters: &Adapters,
    persistent: &Persistent,
    inputs: &TransformerInputs,
) -> Result<TensorId> {
    record_transformer_without(program, config, adapters, persistent, inputs, &[])
}

/// The same without the blocks `skipped`, whose both streams pass unchanged: what skip-layer guidance leads away from.
pub fn record_transformer_without(
    program: &mut Program,
    config: &MmditConfig,
    adapters: &Adapters,
    persistent: &Persistent,
    inputs: &TransformerInputs,
    skipped: &[usize],
) -> Result<TensorId> {
    Recording { program, config, adapters, persistent, modulation: &inputs.modulation }
        .velocity(inputs, skipped)
}

struct Recording<'a> {
    program: &'a mut Program,
    config: &'a MmditConfig,
    adapters: &'a Adapters,
    persistent: &'a Persistent,
    modulation: &'a ModulationVectors,
}

/// One stream of one block.
#[derive(Debug, Clone)]
struct Side {
    /// Name in tensors: `block0.image`.
    name: String,
    /// Name in weights: `joint_blocks.0.x_block`.
    weights: String,
    /// Its modulation vectors.
    vectors: TensorId,
}

impl Recording<'_> {
    fn velocity(mut self, inputs: &TransformerInputs, skipped: &[usize]) -> Result<TensorId> {
        let (mut image, mut text) = self.embed(inputs)?;
        for block in (0..self.config.depth).filter(|block| !skipped.contains(block)) {
            self.program.begin_block();
            self.program.retain(image, Retention::Always);
            self.program.retain(text, Retention::Always);
            (image, text) = self.joint_block(block, image, text)?;
        }
        self.program.begin_block();
        self.program.retain(image, Retention::Always);
        self.last_layer(image, inputs)
    }

    /// Patches with positions, and the text tokens: where both streams begin. They are f32 on every device, and so is
    /// all that is added to them, for a rounding of a stream would stay in it to the end.
    fn embed(&mut self, inputs: &TransformerInputs) -> Result<(TensorId, TensorId)> {
        let before = std::mem::replace(&mut self.program.exact, true);
        self.program.mark_exact(inputs.prompt_embeds);
        let patches = patchify(self.program, "patches", inputs.latents)?;
        let embedded = self.linear("patch_embed", "x_embedder.proj", patches, self.config.width)?;
        let image = add_positions(self.program, "image_embed", embedded, inputs.positions)?;
        let text = self.linear("text_embed", "context_embedder", inputs.prompt_embeds, self.config.width)?;
        self.program.exact = before;
        Ok((image, text))
    }

    /// One joint block; the text stream of the last block ends in its keys and values.
    fn joint_block(&mut self, block: usize, image: TensorId, text: TensorId) -> Result<(TensorId, TensorId)> {
        let side = |stream: &str, weights: &str, vectors: TensorId| Side {
            name: format!("block{block}.{stream}"),
            weights: block_name(block, weights),
            vectors,
        };
        let image_side = side("image", "x_block", self.modulation.image[block]);
        let text_side = side("text", "context_block", self.modulation.text[block]);
        let last = self.config.is_last(block);
        let image_stream = self.stream(&image_side, "attn", image, true)?;
        let text_stream = self.stream(&text_side, "attn", text, !last)?;
        let attended = self.attention(&format!("block{block}.joint"), vec![image_stream, text_stream])?;

        let mut image_out =
            self.attention_residual(&image_side, ("attn", chunk::GATE_ATTENTION), image, attended[0], block)?;
        if self.config.dual_attention[block] {
            let stream = self.stream(&image_side, "attn2", image, true)?;
            let attended = self.attention(&format!("block{block}.dual"), vec![stream])?;
            let gate = ("attn2", chunk::GATE_ATTENTION_2);
            image_out = self.attention_residual(&image_side, gate, image_out, attended[0], block)?;
        }
        self.program.retain(image_out, Retention::Selective);
        image_out = self.mlp_residual(&image_side, &format!("block{block}.ff.image"), image_out)?;
        if last {
            return Ok((image_out, text));
        }
        let text_out =
            self.attention_residual(&text_side, ("attn", chunk::GATE_ATTENTION), text, attended[1], block)?;
        self.program.retain(text_out, Retention::Selective);
        let text_out = self.mlp_residual(&text_side, &format!("block{block}.ff_context.text"), text_out)?;
        Ok((image_out, text_out))
    }

    /// Normalised and modulated input, queries, keys and values of one stream; both attentions of a dual block
    /// start from the block's input.
    fn stream(&mut self, side: &Side, attention: &str, x: TensorId, with_queries: bool) -> Result<Stream> {
        let d = self.config.width;
        let name = format!("{}.{attention}", side.name);
        let (shift, scale) = match attention {
            "attn2" => (chunk::SHIFT_ATTENTION_2, chunk::SCALE_ATTENTION_2),
            _ => (chunk::SHIFT_ATTENTION, chunk::SCALE_ATTENTION),
        };
        let modulation = Modulation { vectors: side.vectors, shift, scale };
        let modulated = layer_norm_modulate(self.program, &format!("{name}.in"), x, modulation)?;
        let rows = if with_queries { 0..3 * d } else { d..3 * d };
        let weight = format!("{}.{attention}.qkv", side.weights);
        let qkv = self.linear_rows(&format!("{name}.qkv"), &weight, modulated, rows.clone(), 3 * d)?;
        let (k, v) = (d - rows.start, 2 * d - rows.start);
        let q = with_queries.then_some(0);
        let gain = |program: &mut Program, which: &str| {
            program.weight(&format!("{}.{attention}.{which}.weight", side.weights), &[HEAD_DIM].into())
        };
        let mut parts = Vec::new();
        if let Some(first) = q {
            parts.push(Part { first, weight: gain(self.program, "ln_q") });
        }
        parts.push(Part { first: k, weight: gain(self.program, "ln_k") });
        let qkv = qk_norm(self.program, &format!("{name}.qkv.normed"), qkv, self.config.heads(), parts)?;
        Ok(Stream { qkv, q, k, v })
    }

    fn attention(&mut self, name: &str, streams: Vec<Stream>) -> Result<Vec<TensorId>> {
        let scale = (HEAD_DIM as f32).sqrt().recip();
        let heads = Heads { count: self.config.heads(), dim: HEAD_DIM, scale };
        attention(self.program, name, streams, heads, Mask::None)
    }

    /// x + gate * proj(attended).
    fn attention_residual(
        &mut self,
        side: &Side,
        (attention, gate): (&str, usize),
        x: TensorId,
        attended: TensorId,
        block: usize,
    ) -> Result<TensorId> {
        let stream = side.name.rsplit('.').next().unwrap_or_default();
        let weight = format!("{}.{attention}.proj", side.weights);
        let out =
            self.linear(&format!("block{block}.{attention}.{stream}"), &weight, attended, self.config.width)?;
        let gate = Gate { vectors: side.vectors, chunk: gate };
        gated_residual(self.program, &format!("{}.after_{attention}", side.name), x, gate, out)
    }

    /// x + gate * MLP(modulated LN(x)).
    fn mlp_residual(&mut self, side: &Side, name: &str, x: TensorId) -> Result<TensorId> {
        let modulation =
            Modulation { vectors: side.vectors, shift: chunk::SHIFT_MLP, scale: chunk::SCALE_MLP };
        let modulated = layer_norm_modulate(self.program, &format!("{name}.in"), x, modulation)?;
        let fc1 = format!("{}.mlp.fc1", side.weights);
        let middle = self.linear(&format!("{name}.fc1"), &fc1, modulated, self.config.mlp_width)?;
        let active = activate(self.program, &format!("{name}.gelu"), Activation::GeluTanh, middle)?;
        let out = self.linear(name, &format!("{}.mlp.fc2", side.weights), active, self.config.width)?;
        let gate = Gate { vectors: side.vectors, chunk: chunk::GATE_MLP };
        gated_residual(self.program, &side.name, x, gate, out)
    }

    fn last_layer(&mut self, image: TensorId, inputs: &TransformerInputs) -> Result<TensorId> {
        let modulation = Modulation { vectors: self.modulation.last, shift: 0, scale: 1 };
        let modulated = layer_norm_modulate(self.program, "last.in", image, modulation)?;
        let features = self.config.channels * PATCH * PATCH;
        let patches = self.linear("last.patches", "final_layer.linear", modulated, features)?;
        let dims = self.program.shape(inputs.latents).dims().to_vec();
        unpatchify(self.program, "velocity prediction", patches, [dims[0], dims[1], dims[2], dims[3]])
    }

    fn linear(&mut self, name: &str, weight: &str, x: TensorId, outputs: usize) -> Result<TensorId> {
        self.linear_rows(name, weight, x, 0..outputs, outputs)
    }

    /// A linear layer over some rows of a weight of `outputs` rows, with its adapters.
    fn linear_rows(
        &mut self,
        name: &str,
        weight: &str,
        x: TensorId,
        rows: Range<usize>,
        outputs: usize,
    ) -> Result<TensorId> {
        let layer = self.adapters.layer(self.program, self.persistent, weight, rows, outputs, x)?;
        linear(self.program, name, x, &layer)
    }
}
