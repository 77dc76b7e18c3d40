//! MMDiT, VAE, text encoders, tokenizers and adapters.

pub mod tokenizer;
