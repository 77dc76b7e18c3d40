//! Texts to embeddings on a shelf, several at a time.

use crate::autograd::Engine;
use crate::cache::{self, Shelf, TextKey};
use crate::error::Result;
use crate::models::text::TextEncoders;
use std::sync::atomic::{AtomicBool, Ordering};

/// How texts are encoded.
#[derive(Debug, Clone, Copy)]
pub struct TextWork<'a> {
    /// The encoders.
    pub encoders: &'a TextEncoders,
    /// Where the embeddings go.
    pub shelf: &'a Shelf<cache::TextEmbeddings>,
    /// Texts that go through the encoders together; streamed weights are read once for all of them.
    pub together: usize,
    /// Whether every group is as large, filled with empty texts. Then a text's values are the same on any device
    /// whatever else had to be encoded.
    pub always_full: bool,
    /// Whether to break off; what is encoded by then stays.
    pub stop: &'a AtomicBool,
}

impl TextWork<'_> {
    /// Encodes `missing` in the arena of `engine`; `progress` hears how many are done. False if it was stopped.
    ///
    /// # Errors
    /// Weights that cannot be read, a disk that cannot be written.
    pub fn encode(
        &self,
        engine: &mut Engine,
        missing: &[TextKey],
        progress: &mut dyn FnMut(usize),
    ) -> Result<bool> {
        for (group, keys) in missing.chunks(self.together).enumerate() {
            if self.stop.load(Ordering::Relaxed) {
                return Ok(false);
            }
            progress(group * self.together);
            self.encode_group(engine, keys)?;
        }
        progress(missing.len());
        Ok(true)
    }

    fn encode_group(&self, engine: &mut Engine, keys: &[TextKey]) -> Result<()> {
        let Some(first) = keys.first() else { return Ok(()) };
        let mut texts: Vec<&str> = keys.iter().map(|key| key.text.as_str()).collect();
        if self.always_full {
            texts.resize(self.together, "");
        }
        let encoded = self.encoders.encode_together(engine, &texts, first.t5_length)?;
        for (key, encoded) in keys.iter().zip(encoded) {
            let entry = cache::TextEmbeddings {
                shape: [encoded.tokens, encoded.width],
                prompt_embeds: encoded.prompt_embeds,
                pooled: encoded.pooled,
            };
            self.shelf.put(key, &entry)?;
        }
        Ok(())
    }
}
