//! The three encoders together: token ids to what conditions the transformer.
//!
//! The states of CLIP-L and CLIP-G stand side by side, padded with zeros to the width of T5's, which follow as further
//! tokens. The pooled states stand side by side.

use super::batch::Batch;
use super::clip::{ClipEncoder, ClipRole, ClipStates};
use super::t5::{Padding, T5Encoder};
use crate::autograd::run::Planned;
use crate::autograd::{Engine, Program};
use crate::device::Limits;
use crate::error::{Error, Result};
use crate::models::tokenizer::CLIP_LENGTH;
use crate::weights::{ModelFiles, TextEncoder};

/// The most prompts that are encoded at one time; more are taken in turns, so that memory stays bounded.
pub const GROUP: usize = 8;

/// What fills the tokens behind those of CLIP.
#[derive(Debug)]
pub enum LongText {
    /// T5's states.
    T5(T5Encoder),
    /// Zeros of this width: the model was trained to do without T5.
    Zeros {
        /// Width of the transformer's text input.
        width: usize,
    },
}

/// The token ids of one prompt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PromptIds {
    /// For CLIP-L.
    pub clip_l: Vec<i32>,
    /// For CLIP-G, as many.
    pub clip_g: Vec<i32>,
    /// For T5; without T5 their number alone counts.
    pub t5: Vec<i32>,
}

/// An encoded prompt.
#[derive(Debug, Clone, PartialEq)]
pub struct TextEmbedding {
    /// `[tokens, width]`: CLIP's tokens, then T5's.
    pub prompt_embeds: Vec<f32>,
    /// Tokens of both.
    pub tokens: usize,
    /// Width of a token.
    pub width: usize,
    /// Pooled states of CLIP-L and CLIP-G.
    pub pooled: Vec<f32>,
}

/// The encoders of a model.
#[derive(Debug)]
pub struct Encoders {
    clip_l: ClipEncoder,
    clip_g: ClipEncoder,
    long_text: LongText,
}

impl Encoders {
    /// The encoders of a model, T5 among them; a missing one is an error that names the setting that supplies it.
    pub fn open(model: &ModelFiles) -> Result<Self> {
        let t5 = T5Encoder::open(model.text_encoder(TextEncoder::T5)?, model.t5.config.as_ref())?;
        Self::of_model(model, LongText::T5(t5))
    }

    /// The encoders of a model without T5, in whose place stand zeros.
    pub fn open_without_t5(model: &ModelFiles) -> Result<Self> {
        let width = model.mmdit.get(CONTEXT)?.shape.columns();
        Self::of_model(model, LongText::Zeros { width })
    }

    fn of_model(model: &ModelFiles, long_text: LongText) -> Result<Self> {
        let clip = |which: TextEncoder, role: ClipRole| {
            ClipEncoder::open(model.text_encoder(which)?, model.encoder(which).config.as_ref(), role)
        };
        let encoders = Self::new(
            clip(TextEncoder::ClipL, ClipRole::L)?,
            clip(TextEncoder::ClipG, ClipRole::G)?,
            long_text,
        )?;
        expect_width(model, CONTEXT, "hidden", encoders.width())?;
        expect_width(model, POOLED, "pooled", encoders.pooled_width())?;
        Ok(encoders)
    }

    /// Puts encoders together; fails if CLIP's states are wider than T5's.
    pub fn new(clip_l: ClipEncoder, clip_g: ClipEncoder, long_text: LongText) -> Result<Self> {
        let encoders = Self { clip_l, clip_g, long_text };
        let (clip, width) = (encoders.clip_width(), encoders.width());
        if clip > width {
            let cause = format!("the states of both CLIPs are {clip} wide, those behind them {width}");
            let path = encoders.clip_g.weights().path();
            return Err(Error::weights(path, cause).hint("the text encoders are of different models"));
        }
        Ok(encoders)
    }

    /// CLIP-L.
    pub fn clip_l(&self) -> &ClipEncoder {
        &self.clip_l
    }

    /// CLIP-G.
    pub fn clip_g(&self) -> &ClipEncoder {
        &self.clip_g
    }

    /// T5 or what stands in its place.
    pub fn long_text(&self) -> &LongText {
        &self.long_text
    }

    /// Width of a token of the embedding.
    pub fn width(&self) -> usize {
        match &self.long_text {
            LongText::T5(t5) => t5.config().width,
            LongText::Zeros { width } => *width,
        }
    }

    /// Width of the pooled states.
    pub fn pooled_width(&self) -> usize {
        self.clip_l.config().pooled_width() + self.clip_g.config().pooled_width()
    }

    fn clip_width(&self) -> usize {
        self.clip_l.config().width + self.clip_g.config().width
    }

    /// Encodes prompts, [`GROUP`] at a time; those of a call have the same numbers of ids.
    ///
    /// The engine's arena is shared with whatever else it runs.
    pub fn encode(&self, engine: &mut Engine, prompts: &[PromptIds]) -> Result<Vec<TextEmbedding>> {
        let groups = prompts.chunks(GROUP).map(|group| self.encode_together(engine, group));
        Ok(groups.collect::<Result<Vec<_>>>()?.concat())
    }

    /// Encodes prompts at one time, however many there are.
    pub fn encode_together(&self, engine: &mut Engine, group: &[PromptIds]) -> Result<Vec<TextEmbedding>> {
        let ids =
            |of: fn(&PromptIds) -> &Vec<i32>| group.iter().map(|ids| of(ids).as_slice()).collect::<Vec<_>>();
        let l = self.clip_l.encode(engine, &ids(|ids| &ids.clip_l))?;
        let g = self.clip_g.encode(engine, &ids(|ids| &ids.clip_g))?;
        let long = match &self.long_text {
            LongText::T5(t5) => t5.encode(engine, &ids(|ids| &ids.t5), Padding::Seen)?,
            LongText::Zeros { width } => {
                let ids = ids(|ids| &ids.t5);
                vec![0.0; Batch::new(&ids)?.ids().len() * width]
            }
        };
        self.assemble(group, &l, &g, &long)
    }

    /// Puts the encoders' outputs for a group together.
    fn assemble(
        &self,
        group: &[PromptIds],
        l: &ClipStates,
        g: &ClipStates,
        long: &[f32],
    ) -> Result<Vec<TextEmbedding>> {
        if l.penultimate.len() * self.clip_g.config().width
            != g.penultimate.len() * self.clip_l.config().width
        {
            return Err(Error::shape("prompt", "CLIP-L and CLIP-G were given different numbers of ids"));
        }
        let count = group.len();
        let embedding = |index: usize| {
            let (l_width, g_width) = (self.clip_l.config().width, self.clip_g.config().width);
            let mut prompt_embeds = Vec::new();
            let rows = part(&l.penultimate, index, count).chunks_exact(l_width);
            for (l, g) in rows.zip(part(&g.penultimate, index, count).chunks_exact(g_width)) {
                prompt_embeds.extend_from_slice(l);
                prompt_embeds.extend_from_slice(g);
                prompt_embeds.resize(prompt_embeds.len() + self.width() - self.clip_width(), 0.0);
            }
            prompt_embeds.extend_from_slice(part(long, index, count));
            let pooled = [part(&l.pooled, index, count), part(&g.pooled, index, count)].concat();
            let (tokens, width) = (prompt_embeds.len() / self.width(), self.width());
            TextEmbedding { prompt_embeds, tokens, width, pooled }
        };
        Ok((0..count).map(embedding).collect())
    }

    /// Bytes that encoding `prompts` prompts with a T5 length of `t5_length` needs at one time, weights on their way
    /// included; reads no weights.
    pub fn plan(&self, prompts: usize, t5_length: usize, limits: &Limits) -> Result<usize> {
        self.plan_together(prompts.clamp(1, GROUP), t5_length, limits)
    }

    /// The same for prompts that are encoded at one time.
    pub fn plan_together(&self, batch: usize, t5_length: usize, limits: &Limits) -> Result<usize> {
        let mut programs: Vec<Program> = Vec::new();
        for clip in [&self.clip_l, &self.clip_g] {
            programs.push(clip.config().record(batch, CLIP_LENGTH)?.program);
        }
        if let LongText::T5(t5) = &self.long_text {
            programs.push(t5.config().record(batch, t5_length, Padding::Seen)?.program);
        }
        let bytes = |program| Ok(Planned::new(program, limits)?.plan.bytes);
        let bytes: Vec<usize> = programs.into_iter().map(bytes).collect::<Result<_>>()?;
        Ok(bytes.into_iter().max().unwrap_or(0))
    }
}

/// The transformer's first layer over the text states.
const CONTEXT: &str = "context_embedder.weight";
/// The transformer's first layer over the pooled states.
const POOLED: &str = "y_embedder.mlp.0.weight";

/// Fails unless the transformer's layer `name` takes text states `given` wide.
fn expect_width(model: &ModelFiles, name: &str, what: &str, given: usize) -> Result<()> {
    let taken = model.mmdit.get(name)?.shape.columns();
    if given == taken {
        return Ok(());
    }
    let cause = format!("{what} text states are {given} wide, the transformer takes {taken}");
    Err(Error::weights(&model.path, cause).hint("the text encoders are of another model"))
}

/// Part `index` of `count` equal parts.
fn part(values: &[f32], index: usize, count: usize) -> &[f32] {
    let length = values.len() / count;
    &values[index * length..(index + 1) * length]
}
