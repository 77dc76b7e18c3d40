//! T5's encoder (v1.1): pre-norm layers with RMSNorm, no biases, a gated feed-forward layer, and one table of biases by
//! relative position that every layer's attention uses.

use super::batch::Batch;
use super::config::{Config, layer_count};
use super::embedding;
use super::fused::fuse;
use super::streamed::{self, check_arrivals};
use crate::autograd::{Engine, Home, Program};
use crate::error::Result;
use crate::kernels::activation::Activation;
use crate::kernels::attention::{Heads, Mask, Stream};
use crate::models::weight_source::ModelWeights;
use crate::ops::{activation, attention, text};
use crate::tensor::{DType, TensorId};
use crate::weights::WeightMap;
use serde_json::Value;

const TOKENS: &str = "shared.weight";
const LAYERS: &str = "encoder.block.";
const POSITION_BIAS: &str = "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight";
/// Rows of the table of biases.
const BUCKETS: usize = 32;

/// Whether padding takes part in attention.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Padding {
    /// It does, as everywhere that Stable Diffusion 3.5 is used.
    Seen,
    /// Nobody attends to ids of 0.
    Hidden,
}

/// The numbers of one T5.
#[derive(Debug, Clone, PartialEq)]
pub struct T5Config {
    /// Layers.
    pub layers: usize,
    /// Width of the hidden states.
    pub width: usize,
    /// Attention heads.
    pub heads: usize,
    /// Columns of one head.
    pub head_dim: usize,
    /// Width between the feed-forward matrices.
    pub hidden: usize,
    /// Of every norm.
    pub epsilon: f32,
}

impl T5Config {
    /// From the shapes of the weights and, where there is one, `config.json`.
    pub fn read(weights: &WeightMap, json: Option<&Value>) -> Result<Self> {
        let config = Config::new(json, weights);
        let (width, layers) = (weights.get(TOKENS)?.shape.columns(), layer_count(weights, LAYERS));
        let heads = weights.get(POSITION_BIAS)?.shape.columns();
        let inner = weights.get(&format!("{LAYERS}0.layer.0.SelfAttention.q.weight"))?.row_count();
        if !inner.is_multiple_of(heads) {
            return Err(config.wrong(format!("{heads} attention heads do not share {inner} columns evenly")));
        }
        let known = [
            ("d_model", width),
            ("num_layers", layers),
            ("num_heads", heads),
            ("d_kv", inner / heads),
            ("relative_attention_num_buckets", BUCKETS),
            ("relative_attention_max_distance", 128),
        ];
        known.into_iter().try_for_each(|(key, value)| config.expect_value(key, value))?;
        expect_gated_gelu(&config)?;
        Ok(Self {
            layers,
            width,
            heads,
            head_dim: inner / heads,
            hidden: weights.get(&format!("{LAYERS}0.layer.1.DenseReluDense.wi_0.weight"))?.row_count(),
            epsilon: config.positive("layer_norm_epsilon")?.unwrap_or(1e-6),
        })
    }

    /// Records the program for `batch` texts of `tokens` ids.
    pub fn record(&self, batch: usize, tokens: usize, padding: Padding) -> Result<T5Program> {
        let mut program = Program::new();
        program.keep_exact();
        let embeddings = program.input("embeddings", [batch, tokens, self.width]);
        let ids = match padding {
            Padding::Seen => None,
            Padding::Hidden => Some(program.add("ids", [batch, tokens], DType::I32, Home::Input)),
        };
        let table = program.arrival(POSITION_BIAS, &[BUCKETS, self.heads].into());
        let mask = Mask::RelativeBias { table, ids };
        let mut x = embeddings;
        for index in 0..self.layers {
            program.begin_block();
            x = self.attention(&mut program, index, x, mask)?;
            x = self.feed_forward(&mut program, index, x)?;
        }
        let last = streamed::rms_norm(&mut program, "encoder.final_layer_norm", x, self.epsilon)?;
        program.output(last);
        Ok(T5Program { program, embeddings, ids, last })
    }

    fn attention(&self, program: &mut Program, index: usize, x: TensorId, mask: Mask) -> Result<TensorId> {
        let at = |part: &str| format!("{LAYERS}{index}.layer.0.{part}");
        let inner = self.heads * self.head_dim;
        let h = streamed::rms_norm(program, &at("layer_norm"), x, self.epsilon)?;
        let qkv = streamed::linear(program, &at("SelfAttention.qkv"), h, 3 * inner, false)?;
        let stream = Stream { qkv, q: Some(0), k: inner, v: 2 * inner };
        // T5 does not scale its scores: its initialisation takes care of their size.
        let heads = Heads { count: self.heads, dim: self.head_dim, scale: 1.0 };
        let attended = attention::attention(program, &at("SelfAttention"), vec![stream], heads, mask)?;
        let out = streamed::linear(program, &at("SelfAttention.o"), attended[0], self.width, false)?;
        activation::add(program, &at("out"), x, out)
    }

    fn feed_forward(&self, program: &mut Program, index: usize, x: TensorId) -> Result<TensorId> {
        let at = |part: &str| format!("{LAYERS}{index}.layer.1.{part}");
        let h = streamed::rms_norm(program, &at("layer_norm"), x, self.epsilon)?;
        let gate = streamed::linear(program, &at("DenseReluDense.wi_0"), h, self.hidden, false)?;
        let gate = activation::activate(program, &at("gate"), Activation::GeluTanh, gate)?;
        let up = streamed::linear(program, &at("DenseReluDense.wi_1"), h, self.hidden, false)?;
        let gated = text::multiply(program, &at("gated"), gate, up)?;
        let out = streamed::linear(program, &at("DenseReluDense.wo"), gated, self.width, false)?;
        activation::add(program, &at("out"), x, out)
    }
}

/// Fails if the config asks for another feed-forward layer than that of T5 v1.1.
fn expect_gated_gelu(config: &Config<'_>) -> Result<()> {
    let known = [("feed_forward_proj", "gated-gelu"), ("dense_act_fn", "gelu_new")];
    known.into_iter().try_for_each(|(key, value)| match config.text(key)? {
        Some("gelu_pytorch_tanh") | None => Ok(()),
        Some(stated) if stated == value => Ok(()),
        Some(stated) => Err(config.wrong(format!("`{key}` is `{stated}`, only {value} is supported"))),
    })
}

/// A recorded T5.
#[derive(Debug, Clone)]
pub struct T5Program {
    /// What to run.
    pub program: Program,
    /// Input: rows of the table, `[b, tokens, width]`.
    pub embeddings: TensorId,
    /// Input: ids `[b, tokens]`, where padding is hidden.
    pub ids: Option<TensorId>,
    /// The last hidden state after the final norm, `[b, tokens, width]`.
    pub last: TensorId,
}

/// A T5 and its weights, mapped but not read.
#[derive(Debug)]
pub struct T5Encoder {
    config: T5Config,
    weights: WeightMap,
}

impl T5Encoder {
    /// Checks that `weights` are those of a whole T5 encoder; reads none.
    pub fn open(weights: &WeightMap, json: Option<&Value>) -> Result<Self> {
        let config = T5Config::read(weights, json)?;
        let mut weights = weights.clone();
        for layer in 0..config.layers {
            let at = |part: &str| format!("{LAYERS}{layer}.layer.0.SelfAttention.{part}.weight");
            fuse(&mut weights, at("qkv"), ["q", "k", "v"].map(at))?;
        }
        check_arrivals(&config.record(1, 1, Padding::Seen)?.program, &weights)?;
        Ok(Self { config, weights })
    }

    /// Its numbers.
    pub fn config(&self) -> &T5Config {
        &self.config
    }

    /// Its weights, q, k and v fused.
    pub fn weights(&self) -> &WeightMap {
        &self.weights
    }

    /// The last hidden states `[b, tokens, width]` of texts of the same length; each row of `texts` is the ids of one.
    pub fn encode(&self, engine: &mut Engine, texts: &[&[i32]], padding: Padding) -> Result<Vec<f32>> {
        let batch = Batch::new(texts)?;
        let T5Program { program, embeddings, ids, last } =
            self.config.record(batch.len(), batch.tokens(), padding)?;
        let planned = engine.plan(program)?;
        engine.reserve(&planned)?;
        let rows = embedding::token_rows(self.weights.get(TOKENS)?, &batch.ids())?;
        engine.write(&planned, embeddings, &rows)?;
        if let Some(ids) = ids {
            engine.write_ids(&planned, ids, &batch.ids())?;
        }
        engine.run_streamed(&planned, &ModelWeights(&self.weights))?;
        engine.read(&planned, last)
    }
}
