//! MMDiT, VAE, text encoders, tokenizers and adapters.
