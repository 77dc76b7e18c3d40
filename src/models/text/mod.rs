//! Text encoders: from token ids, or from a prompt, to what conditions the transformer.
//!
//! CLIP-L and CLIP-G ([`clip`]) and T5 ([`t5`]) are recorded programs whose weights arrive one matrix at a time from
//! the mapped file ([`streamed`]). [`encoders`] runs the three and puts their outputs together; [`prompt`] adds the
//! tokenizers.

pub mod clip;
pub mod encoders;
pub mod prompt;
pub mod t5;

mod batch;
mod config;
mod embedding;
mod fused;
mod streamed;

pub use clip::{ClipConfig, ClipEncoder, ClipRole, ClipStates, EndToken};
pub use encoders::{Encoders, GROUP, LongText, PromptIds, TextEmbedding};
pub use prompt::TextEncoders;
pub use t5::{Padding, T5Config, T5Encoder};

#[cfg(test)]
mod tests;
