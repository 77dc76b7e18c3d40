//! What an entry depends on, and the file name that follows from it.

use sha2::{Digest, Sha256};

/// Changes when the same key would lead to other values: another crop filter, another file layout.
const VERSION: &str = "1";

/// Everything that an entry depends on.
pub trait Key {
    /// The SHA-256, in hexadecimal, of all that the entry depends on.
    fn digest(&self) -> String;
}

/// What the latents of a picture depend on.
#[derive(Debug, Clone, PartialEq)]
pub struct LatentKey {
    /// Hash of the picture's file.
    pub content_hash: String,
    /// The part of the upright picture that is shown: x, y, width, height in its pixels.
    pub crop: [f64; 4],
    /// Width and height in pixels to which that part is scaled.
    pub bucket: [usize; 2],
    /// What is done to it besides, as numbers; none where nothing is.
    pub change: Vec<f64>,
    /// Hash of the VAE's weights and constants.
    pub vae_hash: String,
}

impl Key for LatentKey {
    fn digest(&self) -> String {
        let crop = self.crop.map(|edge| edge.to_bits().to_be_bytes()).concat();
        let bucket = self.bucket.map(|side| (side as u64).to_be_bytes()).concat();
        let mut parts = vec![self.content_hash.as_bytes(), &crop, &bucket, self.vae_hash.as_bytes()];
        let change: Vec<u8> = self.change.iter().flat_map(|number| number.to_bits().to_be_bytes()).collect();
        if !change.is_empty() {
            parts.push(&change);
        }
        digest("latents", &parts)
    }
}

/// What the embeddings of a text depend on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextKey {
    /// The caption or prompt; empty for a dropped caption.
    pub text: String,
    /// Hash of the three encoders and tokenizers.
    pub encoders_hash: String,
    /// Length in tokens of the T5 part.
    pub t5_length: usize,
}

impl Key for TextKey {
    fn digest(&self) -> String {
        let length = (self.t5_length as u64).to_be_bytes();
        digest("text", &[self.text.as_bytes(), self.encoders_hash.as_bytes(), &length])
    }
}

/// SHA-256 of the parts, each preceded by its length so that no two lists of parts read the same.
fn digest(kind: &str, parts: &[&[u8]]) -> String {
    let mut hash = Sha256::new();
    for part in [kind.as_bytes(), VERSION.as_bytes()].iter().chain(parts) {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn latent() -> LatentKey {
        LatentKey {
            content_hash: "ab".into(),
            crop: [0.0, 1.5, 200.0, 155.0],
            bucket: [144, 112],
            change: Vec::new(),
            vae_hash: "cd".into(),
        }
    }

    fn text() -> TextKey {
        TextKey { text: "a cat".into(), encoders_hash: "ef".into(), t5_length: 77 }
    }

    #[test]
    fn every_field_of_a_latent_key_counts() {
        let mut keys = vec![latent()];
        keys.push(LatentKey { content_hash: "abc".into(), ..latent() });
        keys.push(LatentKey { content_hash: "abcd".into(), vae_hash: String::new(), ..latent() });
        for edge in 0..4 {
            let mut other = latent();
            other.crop[edge] = other.crop[edge].next_up();
            keys.push(other);
        }
        keys.push(LatentKey { bucket: [112, 144], ..latent() });
        keys.push(LatentKey { change: vec![0.0, 1.0], ..latent() });
        keys.push(LatentKey { change: vec![1.0, 0.0], ..latent() });
        keys.push(LatentKey { bucket: [144, 128], ..latent() });
        keys.push(LatentKey { vae_hash: "ce".into(), ..latent() });
        assert_distinct(&keys.iter().map(Key::digest).collect::<Vec<_>>());
    }

    #[test]
    fn every_field_of_a_text_key_counts() {
        let keys = [
            text(),
            TextKey { text: "a cat ".into(), ..text() },
            TextKey { text: String::new(), ..text() },
            TextKey { text: "a cate".into(), encoders_hash: "f".into(), ..text() },
            TextKey { encoders_hash: "eg".into(), ..text() },
            TextKey { t5_length: 256, ..text() },
        ];
        assert_distinct(&keys.iter().map(Key::digest).collect::<Vec<_>>());
    }

    fn assert_distinct(digests: &[String]) {
        let distinct: std::collections::BTreeSet<_> = digests.iter().collect();
        assert_eq!(distinct.len(), digests.len());
        assert!(digests.iter().all(|d| d.len() == 64));
    }
}
