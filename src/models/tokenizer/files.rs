//! The files of a tokenizer, and what they say about special tokens.

use crate::error::{Error, ErrorKind, Result};
use serde_json::Value;
use std::path::{Path, PathBuf};
use tokenizers::{AddedToken, Tokenizer};

/// A tokenizer's folder, or the folder of the file that was named.
pub(super) struct Files {
    folder: PathBuf,
    /// The file that was named, if it was not the folder.
    named: Option<PathBuf>,
    settings: Vec<Value>,
}

impl Files {
    pub fn open(path: &Path) -> Result<Self> {
        if !path.exists() {
            return Err(Error::weights(path, "no such file or folder").hint("name a tokenizer's folder"));
        }
        let named = path.is_file().then(|| path.to_owned());
        let folder = match (&named, path.parent()) {
            (Some(_), Some(parent)) => parent.to_owned(),
            _ => path.to_owned(),
        };
        let mut settings = Vec::new();
        for name in ["tokenizer_config.json", "special_tokens_map.json"] {
            let path = folder.join(name);
            if path.is_file() {
                let not_json = |e| unreadable(&path, &format!("this is not valid JSON ({e})"));
                settings.push(serde_json::from_slice(&read(&path)?).map_err(not_json)?);
            }
        }
        Ok(Self { folder, named, settings })
    }

    /// The file `name` in the folder, if it is there; if a file was named, one whose name ends like `name` is that
    /// file (single files are often called `clip_l.tokenizer.json` or the like).
    pub fn find(&self, name: &str) -> Option<PathBuf> {
        let ends_alike = |path: &&PathBuf| path.to_string_lossy().ends_with(name);
        if let Some(named) = self.named.as_ref().filter(ends_alike) {
            return Some(named.clone());
        }
        let path = self.folder.join(name);
        path.is_file().then_some(path)
    }

    /// The text of the special token `role` (such as `pad_token`), as stated in the files.
    pub fn special(&self, role: &str) -> Option<String> {
        self.settings.iter().find_map(|settings| match settings.get(role)? {
            Value::String(text) => Some(text.clone()),
            token => Some(token.get("content")?.as_str()?.to_owned()),
        })
    }

    /// A whole number that the files state.
    pub fn number(&self, key: &str) -> Option<usize> {
        self.settings.iter().find_map(|settings| settings.get(key)?.as_u64()).and_then(|n| n.try_into().ok())
    }

    /// The error when none of the files that could serve is there.
    pub fn lack(&self, needed: &str) -> Error {
        Error::weights(&self.folder, "there is no tokenizer here").hint(format!("{needed} is needed"))
    }

    /// `tokenizer.json`, if it is there.
    pub fn whole(&self) -> Result<Option<Tokenizer>> {
        let Some(path) = self.find("tokenizer.json") else {
            return Ok(None);
        };
        let bytes = read(&path)?;
        Tokenizer::from_bytes(bytes).map(Some).map_err(|e| unreadable(&path, &e.to_string()))
    }
}

/// Makes `tokens` special in `tokenizer` and stops it from cutting and padding, which is done here.
pub(super) fn prepare(tokenizer: &mut Tokenizer, tokens: &[String], place: &Path) -> Result<()> {
    let special: Vec<AddedToken> = tokens.iter().map(|text| AddedToken::from(text.clone(), true)).collect();
    tokenizer.add_special_tokens(&special);
    tokenizer.with_padding(None);
    tokenizer.with_truncation(None).map(|_| ()).map_err(|e| unreadable(place, &e.to_string()))
}

/// The id of the token `text`.
pub(super) fn id(tokenizer: &Tokenizer, text: &str, place: &Path) -> Result<i32> {
    let id = tokenizer.token_to_id(text).and_then(|id| i32::try_from(id).ok());
    id.ok_or_else(|| {
        Error::weights(place, format!("the vocabulary lacks the special token `{text}`"))
            .hint("the files of the tokenizer do not belong together")
    })
}

/// The ids of `text` without special tokens at its ends.
pub(super) fn ids(tokenizer: &Tokenizer, text: &str) -> Result<Vec<i32>> {
    let encoding = tokenizer.encode_fast(text, false).map_err(|e| cannot_be_tokenized(text, &e))?;
    Ok(encoding.get_ids().iter().map(|id| *id as i32).collect())
}

/// Where the tokens of `text` lie in it, in bytes.
pub(super) fn spans(tokenizer: &Tokenizer, text: &str) -> Result<Vec<(usize, usize)>> {
    let encoding = tokenizer.encode(text, false).map_err(|e| cannot_be_tokenized(text, &e))?;
    Ok(encoding.get_offsets().to_vec())
}

fn cannot_be_tokenized(text: &str, error: &tokenizers::Error) -> Error {
    Error::new(ErrorKind::Dataset, format!("text {text:?}"), format!("cannot be tokenized ({error})"))
}

pub(super) fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|e| Error::weights(path, Error::io(path, &e).cause))
}

pub(super) fn unreadable(path: &Path, cause: &str) -> Error {
    let line = cause.lines().next().unwrap_or_default();
    Error::weights(path, format!("the tokenizer cannot be read: {line}")).hint("download the file again")
}
