//! The LoRA file: key names, alpha folded in, reproducible bytes.
//!
//! One form is written ([`write_lora`]); the forms of other tools are read ([`read_lora`]).

mod lora_reader;
mod lora_writer;
mod module_names;

pub use lora_reader::read_lora;
pub use lora_writer::{SaveDtype, lora_bytes, write_lora};

/// The low-rank change of one linear layer: `delta_W = scale * B * A`.
#[derive(Debug, Clone, PartialEq)]
pub struct LoraModule {
    /// Path in the diffusers transformer, such as `transformer_blocks.0.attn.to_q`.
    pub module: String,
    /// Rank r.
    pub rank: usize,
    /// A, `[rank, in]`.
    pub a: Vec<f32>,
    /// B, `[out, rank]`.
    pub b: Vec<f32>,
    /// alpha / rank.
    pub scale: f64,
}

impl LoraModule {
    /// Width of the layer's input.
    pub fn in_features(&self) -> usize {
        self.a.len() / self.rank
    }

    /// Width of the layer's output.
    pub fn out_features(&self) -> usize {
        self.b.len() / self.rank
    }
}

#[cfg(test)]
mod tests;
