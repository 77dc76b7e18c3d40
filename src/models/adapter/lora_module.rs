//! The values of a LoRA on the host, as they go to and come from files.

use super::change::{AdapterModule, Change, Matrix};
use crate::error::Error;

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

impl From<LoraModule> for AdapterModule {
    fn from(lora: LoraModule) -> Self {
        let (rank, inputs, outputs) = (lora.rank, lora.in_features(), lora.out_features());
        let change = Change::LowRank {
            a: Matrix { rows: rank, columns: inputs, values: lora.a },
            b: Matrix { rows: outputs, columns: rank, values: lora.b },
            scale: lora.scale,
        };
        Self { module: lora.module, change, magnitude: None }
    }
}

impl TryFrom<AdapterModule> for LoraModule {
    type Error = Error;

    fn try_from(adapter: AdapterModule) -> Result<Self, Error> {
        match adapter {
            AdapterModule { module, change: Change::LowRank { a, b, scale }, magnitude: None } => {
                Ok(Self { module, rank: a.rows, a: a.values, b: b.values, scale })
            }
            other => Err(Error::shape(&other.module, "it is no plain LoRA")),
        }
    }
}
