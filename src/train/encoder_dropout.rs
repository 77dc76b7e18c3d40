//! Leaves out what single text encoders say, each by chance of its own, so that the model learns to do with less.
//!
//! What is left out is zeros, in the states and in the pooled state, as in kohya's sd-scripts for Stable Diffusion 3.

use crate::cache::TextEmbeddings;
use crate::dataset::encoders_dropped;
use crate::models::text::Encoders;
use crate::models::tokenizer::CLIP_LENGTH;
use std::ops::Range;

/// How often each encoder is left out, and where its part of an embedding lies.
#[derive(Debug, Clone, PartialEq)]
pub struct EncoderDropout {
    /// Probabilities for CLIP-L, CLIP-G and T5.
    rates: [f64; 3],
    /// Columns of the tokens of both CLIPs.
    columns: [Range<usize>; 2],
    /// Elements of the pooled state of each CLIP.
    pooled: [Range<usize>; 2],
}

impl EncoderDropout {
    /// Leaves out the encoders of a model, CLIP-L, CLIP-G and T5, at these rates.
    pub fn new(rates: [f64; 3], encoders: &Encoders) -> Self {
        let (l, g) = (encoders.clip_l().config(), encoders.clip_g().config());
        let side_by_side = |l: usize, g: usize| [0..l, l..l + g];
        Self {
            rates,
            columns: side_by_side(l.width, g.width),
            pooled: side_by_side(l.pooled_width(), g.pooled_width()),
        }
    }

    /// `text` as the sample number `ordinal` of step `step` has it; none where it has all of it.
    pub fn apply(
        &self,
        (seed, step, ordinal): (u64, usize, usize),
        text: &TextEmbeddings,
    ) -> Option<TextEmbeddings> {
        let [l, g, t5] = encoders_dropped(seed, step, ordinal, self.rates);
        if !(l || g || t5) {
            return None;
        }
        let mut left = text.clone();
        let width = text.shape[1];
        let (clip, long) =
            left.prompt_embeds.split_at_mut((CLIP_LENGTH * width).min(text.prompt_embeds.len()));
        for (which, _) in [l, g].into_iter().enumerate().filter(|(_, is_dropped)| *is_dropped) {
            clip.chunks_exact_mut(width).for_each(|token| token[self.columns[which].clone()].fill(0.0));
            left.pooled[self.pooled[which].clone()].fill(0.0);
        }
        if t5 {
            long.fill(0.0);
        }
        Some(left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(rates: [f64; 3]) -> EncoderDropout {
        EncoderDropout { rates, columns: [0..2, 2..5], pooled: [0..1, 1..3] }
    }

    /// 77 tokens of CLIP, 2 wide and 3 wide and one column of padding, and one token of T5.
    fn ones() -> TextEmbeddings {
        TextEmbeddings { shape: [78, 6], prompt_embeds: vec![1.0; 78 * 6], pooled: vec![1.0; 3] }
    }

    #[test]
    fn each_encoder_has_its_own_part() {
        let sum = |values: &[f32]| values.iter().sum::<f32>();
        let left = |rates| with(rates).apply((1, 0, 0), &ones()).unwrap();
        let without_l = left([1.0, 0.0, 0.0]);
        assert_eq!((sum(&without_l.prompt_embeds), sum(&without_l.pooled)), (78.0 * 6.0 - 77.0 * 2.0, 2.0));
        assert_eq!(without_l.prompt_embeds[..3], [0.0, 0.0, 1.0]);
        let without_g = left([0.0, 1.0, 0.0]);
        assert_eq!((sum(&without_g.prompt_embeds), sum(&without_g.pooled)), (78.0 * 6.0 - 77.0 * 3.0, 1.0));
        assert_eq!(without_g.prompt_embeds[..6], [1.0, 1.0, 0.0, 0.0, 0.0, 1.0]);
        let without_t5 = left([0.0, 0.0, 1.0]);
        assert_eq!((sum(&without_t5.prompt_embeds), sum(&without_t5.pooled)), (77.0 * 6.0, 3.0));
        assert!(without_t5.prompt_embeds[77 * 6..].iter().all(|value| *value == 0.0));
        assert_eq!(with([0.0; 3]).apply((1, 0, 0), &ones()), None);
    }
}
