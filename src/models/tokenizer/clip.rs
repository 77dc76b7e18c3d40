//! CLIP's tokenizer: lower case, byte-level pairs with an end-of-word mark, 77 ids.

use super::files::{self, Files};
use super::fit::Fit;
use crate::error::{Error, Result};
use std::collections::BTreeMap;
use std::path::Path;
use tokenizers::models::bpe::BPE;
use tokenizers::normalizers::replace::ReplacePattern;
use tokenizers::normalizers::{Lowercase, NFC, Replace, Sequence as Normalizers};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::sequence::Sequence as PreTokenizers;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::{SplitDelimiterBehavior, Tokenizer};

/// Ids of one text.
pub const CLIP_LENGTH: usize = 77;

const BEGIN: &str = "<|startoftext|>";
const END: &str = "<|endoftext|>";
/// What counts as a word.
const WORDS: &str =
    r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+";

/// What fills the ids behind a short text, where the tokenizer's files do not say it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PadToken {
    /// The end token again, as CLIP-L pads.
    End,
    /// `!`, as CLIP-G pads.
    Exclamation,
}

/// The tokenizer of CLIP-L or CLIP-G.
#[derive(Debug)]
pub struct ClipTokenizer {
    tokenizer: Tokenizer,
    begin: i32,
    end: i32,
    pad: i32,
}

impl ClipTokenizer {
    /// From a folder with `tokenizer.json`, or with `vocab.json` and `merges.txt`; or from one of these files, with
    /// the others beside it.
    pub fn open(path: &Path, pad: PadToken) -> Result<Self> {
        let files = Files::open(path)?;
        let special = |role: &str, usual: &str| files.special(role).unwrap_or_else(|| usual.to_owned());
        let (begin, end) = (special("bos_token", BEGIN), special("eos_token", END));
        let unknown = special("unk_token", END);
        let pad = match pad {
            PadToken::End => special("pad_token", &end),
            PadToken::Exclamation => special("pad_token", "!"),
        };
        let mut tokenizer = match files.whole()? {
            Some(tokenizer) => tokenizer,
            None => from_vocabulary(&files, &unknown)?,
        };
        let (begin_id, end_id) = (files::id(&tokenizer, &begin, path)?, files::id(&tokenizer, &end, path)?);
        let pad_id = files::id(&tokenizer, &pad, path)?;
        files::prepare(&mut tokenizer, &[begin, end, unknown, pad], path)?;
        Ok(Self { tokenizer, begin: begin_id, end: end_id, pad: pad_id })
    }

    /// Begin, at most 75 tokens of `text`, end, padding.
    pub fn encode(&self, text: &str) -> Result<[i32; CLIP_LENGTH]> {
        let mut ids = [self.pad; CLIP_LENGTH];
        let tokens = files::ids(&self.tokenizer, text)?;
        let tokens = &tokens[..tokens.len().min(CLIP_LENGTH - 2)];
        ids[0] = self.begin;
        ids[1..=tokens.len()].copy_from_slice(tokens);
        ids[tokens.len() + 1] = self.end;
        Ok(ids)
    }

    /// How much of `text` the encoder sees.
    pub fn fit(&self, text: &str) -> Result<Fit> {
        Ok(Fit::new(text, &files::spans(&self.tokenizer, text)?, 2, CLIP_LENGTH))
    }

    /// The id that ends every text; pooled states are taken at its first place.
    pub fn end_id(&self) -> i32 {
        self.end
    }
}

/// The tokenizer that `vocab.json` and `merges.txt` stand for.
fn from_vocabulary(files: &Files, unknown: &str) -> Result<Tokenizer> {
    let (Some(vocabulary_path), Some(merges_path)) = (files.find("vocab.json"), files.find("merges.txt"))
    else {
        return Err(files.lack("tokenizer.json, or vocab.json and merges.txt,"));
    };
    let wrong = |e: tokenizers::Error| files::unreadable(&vocabulary_path, &e.to_string());
    let vocabulary: BTreeMap<String, u32> = serde_json::from_slice(&files::read(&vocabulary_path)?)
        .map_err(|e| files::unreadable(&vocabulary_path, &e.to_string()))?;
    let model = BPE::builder()
        .vocab_and_merges(
            vocabulary.into_iter().collect::<tokenizers::models::bpe::Vocab>(),
            merges(&merges_path)?,
        )
        .unk_token(unknown.to_owned())
        .continuing_subword_prefix(String::new())
        .end_of_word_suffix("</w>".to_owned())
        .build()
        .map_err(wrong)?;
    let spaces = Replace::new(ReplacePattern::Regex(r"\s+".to_owned()), " ").map_err(wrong)?;
    let words = Split::new(SplitPattern::Regex(WORDS.to_owned()), SplitDelimiterBehavior::Removed, true)
        .map_err(wrong)?;
    let mut tokenizer = Tokenizer::new(model);
    tokenizer.with_normalizer(Some(Normalizers::new(vec![NFC.into(), spaces.into(), Lowercase.into()])));
    tokenizer.with_pre_tokenizer(Some(PreTokenizers::new(vec![
        words.into(),
        ByteLevel::new(false, true, true).into(),
    ])));
    Ok(tokenizer)
}

/// The pairs in `merges.txt`, one a line after a line with the version.
fn merges(path: &Path) -> Result<Vec<(String, String)>> {
    let text =
        String::from_utf8(files::read(path)?).map_err(|_| files::unreadable(path, "it is not UTF-8"))?;
    let lines =
        text.lines().enumerate().filter(|(_, line)| !line.starts_with("#version") && !line.is_empty());
    lines
        .map(|(number, line)| match line.split_once(' ') {
            Some((left, right)) => Ok((left.to_owned(), right.to_owned())),
            None => Err(Error::weights(path, format!("line {} is not a pair", number + 1))
                .hint("download the file again")),
        })
        .collect()
}
