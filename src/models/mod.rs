//! MMDiT, VAE, text encoders, tokenizers and adapters.

pub mod text;
pub mod tokenizer;
pub mod weight_source;
