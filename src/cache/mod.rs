//! Latents and text embeddings on disk, keyed by what they depend on.
//!
//! An entry is a safetensors file named by the SHA-256 of its key, so a changed picture, caption or model
//! leads to another name and nothing is ever stale. Entries are written whole or not at all; one that is
//! damaged counts as absent. Several processes may share a folder without a lock.

mod entry;
mod key;
mod shelf;

pub use entry::{Entry, Latents, TextEmbeddings};
pub use key::{Key, LatentKey, TextKey};
pub use shelf::Shelf;

use std::path::Path;

/// Both shelves of the cache.
#[derive(Debug)]
pub struct Store {
    /// What the VAE made of pictures.
    pub latents: Shelf<Latents>,
    /// What the text encoders made of captions and prompts.
    pub texts: Shelf<TextEmbeddings>,
}

impl Store {
    /// The cache under `folder`, with a folder for each shelf. Nothing is created before the first `put`.
    pub fn open(folder: &Path) -> Self {
        Self::open_at(&folder.join("latents"), &folder.join("texts"))
    }

    /// A cache whose shelves lie in folders of their own.
    pub fn open_at(latents: &Path, texts: &Path) -> Self {
        Self { latents: Shelf::new(latents), texts: Shelf::new(texts) }
    }
}

#[cfg(test)]
mod tests;
