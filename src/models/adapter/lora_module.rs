//! The values of a LoRA on the host, as they go to and come from files.

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
