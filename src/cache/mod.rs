//! Latents and text embeddings on disk, keyed by what they depend on.
