//! MMDiT, VAE, text encoders, tokenizers and adapters.

pub mod tokenizer;
pub mod vae;

mod weight_source;

pub use weight_source::ModelWeights;
