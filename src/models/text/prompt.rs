//! Prompts in, embeddings out: tokenizers and encoders together.

use super::encoders::{Encoders, LongText, PromptIds, TextEmbedding};
use crate::autograd::Engine;
use crate::device::Limits;
use crate::error::{Error, ErrorKind, Result};
use crate::models::tokenizer::{ClipTokenizer, PadToken, T5Tokenizer};
use crate::weights::{ModelFiles, TextEncoder, fingerprint};
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};

/// The text side of a model.
#[derive(Debug)]
pub struct TextEncoders {
    encoders: Encoders,
    clip_l: ClipTokenizer,
    clip_g: ClipTokenizer,
    t5: Option<T5Tokenizer>,
    tokenizer_paths: Vec<PathBuf>,
}

impl TextEncoders {
    /// The three encoders and tokenizers of a model; a missing one is an error that names the setting that supplies it.
    ///
    /// Weights are not read until a prompt is encoded.
    pub fn open(model: &ModelFiles) -> Result<Self> {
        Self::with(model, Encoders::open(model)?)
    }

    /// The same without T5, in whose place stand zeros.
    pub fn open_without_t5(model: &ModelFiles) -> Result<Self> {
        Self::with(model, Encoders::open_without_t5(model)?)
    }

    fn with(model: &ModelFiles, encoders: Encoders) -> Result<Self> {
        let (clip_l, clip_g) = (model.tokenizer(TextEncoder::ClipL)?, model.tokenizer(TextEncoder::ClipG)?);
        let t5 = match encoders.long_text() {
            LongText::T5(_) => Some(model.tokenizer(TextEncoder::T5)?),
            LongText::Zeros { .. } => None,
        };
        Ok(Self {
            encoders,
            clip_l: ClipTokenizer::open(clip_l, PadToken::End)?,
            clip_g: ClipTokenizer::open(clip_g, PadToken::Exclamation)?,
            t5: t5.map(T5Tokenizer::open).transpose()?,
            tokenizer_paths: [clip_l, clip_g].into_iter().chain(t5).map(Path::to_owned).collect(),
        })
    }

    /// The encoders alone.
    pub fn encoders(&self) -> &Encoders {
        &self.encoders
    }

    /// The ids of a prompt, `t5_length` of them for T5.
    pub fn tokenize(&self, prompt: &str, t5_length: usize) -> Result<PromptIds> {
        let t5 = match &self.t5 {
            Some(tokenizer) => tokenizer.encode(prompt, t5_length)?,
            None => vec![0; t5_length],
        };
        Ok(PromptIds {
            clip_l: self.clip_l.encode(prompt)?.to_vec(),
            clip_g: self.clip_g.encode(prompt)?.to_vec(),
            t5,
        })
    }

    /// Encodes a prompt.
    pub fn encode(&self, engine: &mut Engine, prompt: &str, t5_length: usize) -> Result<TextEmbedding> {
        Ok(self.encode_batch(engine, &[prompt], t5_length)?.swap_remove(0))
    }

    /// Encodes several prompts in fewer passes over the weights; the values are those of encoding each alone, up to
    /// rounding.
    pub fn encode_batch(
        &self,
        engine: &mut Engine,
        prompts: &[&str],
        t5_length: usize,
    ) -> Result<Vec<TextEmbedding>> {
        let ids = prompts.iter().map(|prompt| self.tokenize(prompt, t5_length));
        self.encoders.encode(engine, &ids.collect::<Result<Vec<_>>>()?)
    }

    /// Encodes several prompts at one time.
    pub fn encode_together(
        &self,
        engine: &mut Engine,
        prompts: &[&str],
        t5_length: usize,
    ) -> Result<Vec<TextEmbedding>> {
        let ids = prompts.iter().map(|prompt| self.tokenize(prompt, t5_length));
        self.encoders.encode_together(engine, &ids.collect::<Result<Vec<_>>>()?)
    }

    /// See [`Encoders::plan`].
    pub fn plan(&self, prompts: usize, t5_length: usize, limits: &Limits) -> Result<usize> {
        self.encoders.plan(prompts, t5_length, limits)
    }

    /// What embeddings depend on besides the prompt and the T5 length: weights, numbers and tokenizers, as SHA-256 in hex.
    pub fn fingerprint(&self) -> Result<String> {
        let mut hash = Sha256::new();
        for clip in [self.encoders.clip_l(), self.encoders.clip_g()] {
            hash.update(format!("{} {:?}\n", fingerprint(clip.weights())?, clip.config()));
        }
        match self.encoders.long_text() {
            LongText::T5(t5) => hash.update(format!("{} {:?}\n", fingerprint(t5.weights())?, t5.config())),
            LongText::Zeros { width } => hash.update(format!("zeros {width}\n")),
        }
        for path in &self.tokenizer_paths {
            hash_tokenizer(&mut hash, path)?;
        }
        Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
    }
}

/// Files that a tokenizer may be made of.
const TOKENIZER_FILES: [&str; 6] = [
    "tokenizer.json",
    "vocab.json",
    "merges.txt",
    "spiece.model",
    "tokenizer_config.json",
    "special_tokens_map.json",
];

/// Adds the content of all files that the tokenizer at `path` may be made of.
fn hash_tokenizer(hash: &mut Sha256, path: &Path) -> Result<()> {
    let folder = if path.is_dir() { path } else { path.parent().unwrap_or(path) };
    let named = path.is_file().then(|| path.to_owned());
    let beside = TOKENIZER_FILES.iter().map(|name| folder.join(name)).filter(|file| file.is_file());
    for file in named.into_iter().chain(beside) {
        let bytes = std::fs::read(&file).map_err(|e| {
            Error::new(ErrorKind::Weights, file.display().to_string(), Error::io(&file, &e).cause)
        })?;
        hash.update((bytes.len() as u64).to_be_bytes());
        hash.update(bytes);
    }
    Ok(())
}
