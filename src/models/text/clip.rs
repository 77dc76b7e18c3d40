//! CLIP's text transformer: CLIP-L and OpenCLIP bigG.
//!
//! Pre-norm layers with causal attention and no mask over padding. The diffusion model takes two things from it: the
//! output of the second-to-last layer, without a norm, and the end token's state after the last layer and the final
//! norm, projected.

use super::batch::Batch;
use super::config::{Config, layer_count};
use super::embedding;
use super::fused::fuse;
use super::streamed::{self, check_arrivals};
use crate::autograd::{Engine, Home, Program};
use crate::error::{Error, Result};
use crate::kernels::activation::Activation;
use crate::kernels::attention::{Heads, Mask, Stream};
use crate::models::weight_source::ModelWeights;
use crate::ops::{activation, attention, text};
use crate::tensor::{DType, TensorId};
use crate::weights::WeightMap;
use serde_json::Value;

const TOKENS: &str = "text_model.embeddings.token_embedding.weight";
const POSITIONS: &str = "text_model.embeddings.position_embedding.weight";
const LAYERS: &str = "text_model.encoder.layers.";
const PROJECTION: &str = "text_projection";

/// Which of the two a CLIP is used as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClipRole {
    /// CLIP-L.
    L,
    /// OpenCLIP bigG.
    G,
}

/// Which position is pooled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndToken {
    /// The first of the largest id: the end token has the last id of CLIP's vocabulary.
    Largest,
    /// The first of this id; the first of all where there is none.
    Id(i32),
}

/// The numbers of one CLIP.
#[derive(Debug, Clone, PartialEq)]
pub struct ClipConfig {
    /// Layers.
    pub layers: usize,
    /// Width of the hidden states.
    pub width: usize,
    /// Attention heads.
    pub heads: usize,
    /// Width between the two feed-forward matrices.
    pub hidden: usize,
    /// Rows of the position table: the longest text.
    pub positions: usize,
    /// Between the two feed-forward matrices.
    pub activation: Activation,
    /// Of every norm.
    pub epsilon: f32,
    /// Which position is pooled.
    pub end: EndToken,
    /// Whether the pooled state goes through `text_projection`.
    ///
    /// Always for CLIP-G. For CLIP-L only if `config.json` says that the files are those of a CLIP with projection, as
    /// in a diffusers folder of Stable Diffusion 3.5 (where it is the identity): a CLIP-L from elsewhere carries the
    /// projection it was trained with, which Stable Diffusion 3.5 has never seen.
    pub apply_projection: bool,
    /// Width of the projection, where the files have one; without, it is the identity.
    pub projection: Option<usize>,
}

impl ClipConfig {
    /// From the shapes of the weights and, where there is one, `config.json`.
    pub fn read(weights: &WeightMap, json: Option<&Value>, role: ClipRole) -> Result<Self> {
        let config = Config::new(json, weights);
        let apply_projection = role == ClipRole::G || states_projection(&config);
        let config = config.section("text_config");
        let (width, layers) = (weights.get(TOKENS)?.shape.columns(), layer_count(weights, LAYERS));
        config.expect_value("hidden_size", width)?;
        config.expect_value("num_hidden_layers", layers)?;
        let projection = weights.contains("text_projection.weight");
        let projection =
            if projection { Some(weights.get("text_projection.weight")?.row_count()) } else { None };
        Ok(Self {
            layers,
            width,
            heads: heads(&config, width)?,
            hidden: weights.get(&format!("{LAYERS}0.mlp.fc1.weight"))?.row_count(),
            positions: weights.get(POSITIONS)?.row_count(),
            activation: hidden_activation(&config, role)?,
            epsilon: config.positive("layer_norm_eps")?.unwrap_or(1e-5),
            end: end_token(&config)?,
            apply_projection,
            projection,
        })
    }

    /// Width of the pooled state.
    pub fn pooled_width(&self) -> usize {
        self.projection.filter(|_| self.apply_projection).unwrap_or(self.width)
    }

    /// Records the program for `batch` texts of `tokens` ids.
    pub fn record(&self, batch: usize, tokens: usize) -> Result<ClipProgram> {
        if tokens > self.positions {
            let cause = format!("a text of {tokens} ids, the position table has {}", self.positions);
            return Err(Error::shape("CLIP", cause));
        }
        let mut program = Program::new();
        program.keep_exact();
        let embeddings = program.input("embeddings", [batch, tokens, self.width]);
        let end_rows = program.add("end rows", [batch], DType::I32, Home::Input);
        let (mut penultimate, mut x) = (embeddings, embeddings);
        for index in 0..self.layers {
            program.begin_block();
            (penultimate, x) = (x, self.layer(&mut program, index, x)?);
        }
        let end = text::gather_rows(&mut program, "end states", x, end_rows)?;
        let end = streamed::layer_norm(&mut program, "text_model.final_layer_norm", end, self.epsilon)?;
        let pooled = match self.projection.filter(|_| self.apply_projection) {
            Some(width) => streamed::linear(&mut program, PROJECTION, end, width, false)?,
            None => end,
        };
        program.output(penultimate);
        program.output(pooled);
        Ok(ClipProgram { program, embeddings, end_rows, penultimate, pooled })
    }

    fn layer(&self, program: &mut Program, index: usize, x: TensorId) -> Result<TensorId> {
        let at = |part: &str| format!("{LAYERS}{index}.{part}");
        let h = streamed::layer_norm(program, &at("layer_norm1"), x, self.epsilon)?;
        let qkv = streamed::linear(program, &at("self_attn.qkv"), h, 3 * self.width, true)?;
        let stream = Stream { qkv, q: Some(0), k: self.width, v: 2 * self.width };
        let dim = self.width / self.heads;
        let heads = Heads { count: self.heads, dim, scale: 1.0 / (dim as f32).sqrt() };
        let attended = attention::attention(program, &at("self_attn"), vec![stream], heads, Mask::Causal)?;
        let out = streamed::linear(program, &at("self_attn.out_proj"), attended[0], self.width, true)?;
        let x = activation::add(program, &at("attended"), x, out)?;
        let h = streamed::layer_norm(program, &at("layer_norm2"), x, self.epsilon)?;
        let h = streamed::linear(program, &at("mlp.fc1"), h, self.hidden, true)?;
        let h = activation::activate(program, &at("mlp.act"), self.activation, h)?;
        let out = streamed::linear(program, &at("mlp.fc2"), h, self.width, true)?;
        activation::add(program, &at("out"), x, out)
    }

    /// The position of `ids` that is pooled.
    pub fn end_row(&self, ids: &[i32]) -> usize {
        let end = match self.end {
            EndToken::Largest => ids.iter().copied().max().unwrap_or(0),
            EndToken::Id(id) => id,
        };
        ids.iter().position(|id| *id == end).unwrap_or(0)
    }
}

/// Whether `config.json` is there and does not say that the files are those of another class.
fn states_projection(config: &Config<'_>) -> bool {
    let classes = config.architectures();
    config.exists() && classes.is_none_or(|names| names.contains(&"CLIPTextModelWithProjection"))
}

/// Heads of 64 columns, unless the config says otherwise.
fn heads(config: &Config<'_>, width: usize) -> Result<usize> {
    let heads = config.whole("num_attention_heads")?.unwrap_or(width.div_ceil(64));
    if heads == 0 || !width.is_multiple_of(heads) {
        return Err(config.wrong(format!("{heads} attention heads do not share a width of {width} evenly")));
    }
    Ok(heads)
}

fn hidden_activation(config: &Config<'_>, role: ClipRole) -> Result<Activation> {
    match (config.text("hidden_act")?, role) {
        (Some("quick_gelu"), _) | (None, ClipRole::L) => Ok(Activation::QuickGelu),
        (Some("gelu"), _) | (None, ClipRole::G) => Ok(Activation::GeluErf),
        (Some("gelu_new" | "gelu_pytorch_tanh"), _) => Ok(Activation::GeluTanh),
        (Some(other), _) => {
            Err(config.wrong(format!("`hidden_act` is `{other}`, quick_gelu and gelu are known here")))
        }
    }
}

/// Old configs state 2, which is no end token of CLIP's: the end is then where the largest id is.
fn end_token(config: &Config<'_>) -> Result<EndToken> {
    const OLD: usize = 2;
    match config.whole("eos_token_id")? {
        None | Some(OLD) => Ok(EndToken::Largest),
        Some(id) => match i32::try_from(id) {
            Ok(id) => Ok(EndToken::Id(id)),
            Err(_) => Err(config.wrong(format!("`eos_token_id` is {id}"))),
        },
    }
}

/// A recorded CLIP.
#[derive(Debug, Clone)]
pub struct ClipProgram {
    /// What to run.
    pub program: Program,
    /// Input: rows of the tables, added, `[b, tokens, width]`.
    pub embeddings: TensorId,
    /// Input: the position that is pooled, of every text, `[b]`.
    pub end_rows: TensorId,
    /// Output of the second-to-last layer, `[b, tokens, width]`.
    pub penultimate: TensorId,
    /// Pooled state, `[b, pooled width]`.
    pub pooled: TensorId,
}

/// What a CLIP gives for some texts.
#[derive(Debug, Clone, PartialEq)]
pub struct ClipStates {
    /// Output of the second-to-last layer, `[b, tokens, width]`.
    pub penultimate: Vec<f32>,
    /// Pooled state, `[b, pooled width]`.
    pub pooled: Vec<f32>,
}

/// A CLIP and its weights, mapped but not read.
#[derive(Debug)]
pub struct ClipEncoder {
    config: ClipConfig,
    weights: WeightMap,
}

impl ClipEncoder {
    /// Checks that `weights` are those of a whole CLIP; reads none but the tables' shapes.
    pub fn open(weights: &WeightMap, json: Option<&Value>, role: ClipRole) -> Result<Self> {
        let config = ClipConfig::read(weights, json, role)?;
        let mut weights = weights.clone();
        for layer in 0..config.layers {
            for p in ["weight", "bias"] {
                let at = |part: &str| format!("{LAYERS}{layer}.self_attn.{part}.{p}");
                fuse(&mut weights, at("qkv"), ["q_proj", "k_proj", "v_proj"].map(at))?;
            }
        }
        weights.expect_shape(POSITIONS, &[config.positions, config.width].into())?;
        check_arrivals(&config.record(1, config.positions)?.program, &weights)?;
        Ok(Self { config, weights })
    }

    /// Its numbers.
    pub fn config(&self) -> &ClipConfig {
        &self.config
    }

    /// Its weights, q, k and v fused.
    pub fn weights(&self) -> &WeightMap {
        &self.weights
    }

    /// Encodes texts of the same length; each row of `texts` is the ids of one.
    pub fn encode(&self, engine: &mut Engine, texts: &[&[i32]]) -> Result<ClipStates> {
        let batch = Batch::new(texts)?;
        let ClipProgram { program, embeddings, end_rows, penultimate, pooled } =
            self.config.record(batch.len(), batch.tokens())?;
        let planned = engine.plan(program)?;
        engine.reserve(&planned)?;
        let mut rows = embedding::token_rows(self.weights.get(TOKENS)?, &batch.ids())?;
        embedding::add_positions(&mut rows, self.weights.get(POSITIONS)?, batch.tokens())?;
        engine.write(&planned, embeddings, &rows)?;
        let ends: Vec<i32> = batch.texts().map(|ids| self.config.end_row(ids) as i32).collect();
        engine.write_ids(&planned, end_rows, &ends)?;
        engine.run_streamed(&planned, &ModelWeights(&self.weights))?;
        Ok(ClipStates {
            penultimate: engine.read(&planned, penultimate)?,
            pooled: engine.read(&planned, pooled)?,
        })
    }
}
