//! Text to token ids, exactly as transformers does it.
//!
//! The ids of special tokens come from the vocabulary; which tokens are special comes from the files beside it.

mod clip;
mod files;
mod fit;
mod sentencepiece;
mod t5;

pub use clip::{CLIP_LENGTH, ClipTokenizer, PadToken};
pub use fit::Fit;
pub use t5::T5Tokenizer;

#[cfg(test)]
mod tests;
