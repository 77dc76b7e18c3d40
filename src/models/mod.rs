//! MMDiT, VAE, text encoders, tokenizers and adapters.

pub mod adapter;
pub mod mmdit;
pub mod text;
pub mod tokenizer;
pub mod vae;
pub mod weight_source;
