//! T5's tokenizer: SentencePiece pieces, case preserved, ended by `</s>`.

use super::files::{self, Files};
use super::fit::Fit;
use super::sentencepiece::SentencePiece;
use crate::error::{Error, ErrorKind, Result};
use std::path::Path;
use tokenizers::Tokenizer;

/// The tokenizer of T5.
#[derive(Debug)]
pub struct T5Tokenizer {
    tokenizer: Tokenizer,
    end: i32,
    pad: i32,
}

impl T5Tokenizer {
    /// From a folder with `tokenizer.json` or `spiece.model`, or from one of these files.
    pub fn open(path: &Path) -> Result<Self> {
        let files = Files::open(path)?;
        let special = |role: &str, usual: &str| files.special(role).unwrap_or_else(|| usual.to_owned());
        let (end, pad, unknown) =
            (special("eos_token", "</s>"), special("pad_token", "<pad>"), special("unk_token", "<unk>"));
        let mut tokenizer = match (files.whole()?, files.find("spiece.model")) {
            (Some(tokenizer), _) => tokenizer,
            (None, Some(pieces)) => from_pieces(&pieces, files.number("extra_ids"))?,
            (None, None) => return Err(files.lack("tokenizer.json or spiece.model")),
        };
        let (end_id, pad_id) = (files::id(&tokenizer, &end, path)?, files::id(&tokenizer, &pad, path)?);
        files::prepare(&mut tokenizer, &[pad, end, unknown], path)?;
        Ok(Self { tokenizer, end: end_id, pad: pad_id })
    }

    /// `length` ids: the tokens of `text`, cut so that the end token still fits, the end token, padding.
    ///
    /// A length of 0 is an error.
    pub fn encode(&self, text: &str, length: usize) -> Result<Vec<i32>> {
        if length == 0 {
            return Err(Error::new(ErrorKind::Settings, "T5 token length", "it is 0").hint("256 is usual"));
        }
        let mut ids = files::ids(&self.tokenizer, text)?;
        ids.truncate(length - 1);
        ids.push(self.end);
        ids.resize(length, self.pad);
        Ok(ids)
    }

    /// How much of `text` the encoder sees when it takes `length` ids.
    pub fn fit(&self, text: &str, length: usize) -> Result<Fit> {
        Ok(Fit::new(text, &files::spans(&self.tokenizer, text)?, 1, length))
    }
}

/// The number of sentinel tokens behind T5's pieces.
const SENTINELS: usize = 100;

/// The tokenizer that `spiece.model` stands for.
fn from_pieces(path: &Path, sentinels: Option<usize>) -> Result<Tokenizer> {
    let pieces = SentencePiece::parse(&files::read(path)?)
        .ok_or_else(|| files::unreadable(path, "this is not a SentencePiece model"))?;
    let mut tokenizer = pieces.tokenizer().map_err(|e| files::unreadable(path, &e.to_string()))?;
    let names: Vec<String> =
        (0..sentinels.unwrap_or(SENTINELS).min(1000)).rev().map(|i| format!("<extra_id_{i}>")).collect();
    files::prepare(&mut tokenizer, &names, path)?;
    Ok(tokenizer)
}
