//! Token ids of several texts, side by side.

use crate::error::{Error, Result};

/// Ids of several texts of the same length.
#[derive(Debug, Clone, Copy)]
pub(super) struct Batch<'a> {
    texts: &'a [&'a [i32]],
    tokens: usize,
}

impl<'a> Batch<'a> {
    /// Fails unless there is a text, and all have the same length, which is not 0.
    pub fn new(texts: &'a [&'a [i32]]) -> Result<Self> {
        let tokens = texts.first().map_or(0, |first| first.len());
        if tokens == 0 || texts.iter().any(|text| text.len() != tokens) {
            let lengths: Vec<usize> = texts.iter().map(|text| text.len()).collect();
            return Err(Error::shape("token ids", format!("texts of {lengths:?} ids do not make a batch")));
        }
        Ok(Self { texts, tokens })
    }

    /// Number of texts.
    pub fn len(&self) -> usize {
        self.texts.len()
    }

    /// Ids of a text.
    pub fn tokens(&self) -> usize {
        self.tokens
    }

    /// The texts.
    pub fn texts(&self) -> impl Iterator<Item = &'a [i32]> {
        self.texts.iter().copied()
    }

    /// All ids, text after text.
    pub fn ids(&self) -> Vec<i32> {
        self.texts.concat()
    }
}
