//! Which text a sample is trained with: a pure function of seed, step, ordinal and sample.
//!
//! In this order: one of the picture's captions, its parts shuffled and some left out, and now and then no text at all.

use super::captions::{caption_dropped, caption_variant};
use super::wording::Appearance;
use super::{Batch, Sample};
use crate::random::{Purpose, Stream};
use std::borrow::Cow;
use std::collections::BTreeSet;

/// See the module's documentation.
#[derive(Debug, Clone, Copy)]
pub struct Captioning<'a> {
    seed: u64,
    samples: &'a [Sample],
}

impl<'a> Captioning<'a> {
    /// The texts of `samples` in a run with this seed.
    pub fn new(seed: u64, samples: &'a [Sample]) -> Self {
        Self { seed, samples }
    }

    /// Whether any sample's text differs from one appearance to the next in more than a choice among its captions.
    pub fn varies(&self) -> bool {
        self.samples.iter().any(|sample| !sample.held_out && sample.wording.varies())
    }

    /// The text of `sample` where it is the sample number `ordinal` of optimizer step `step`, which counts from 0.
    pub fn text(&self, step: usize, ordinal: usize, sample: usize) -> Cow<'a, str> {
        let Sample { captions, wording, .. } = &self.samples[sample];
        if caption_dropped(self.seed, step, ordinal, wording.dropout) {
            return Cow::Borrowed("");
        }
        let variant = caption_variant(self.seed, step, ordinal, captions.len());
        let caption = &captions[variant];
        if wording.varies() {
            let at = Appearance { seed: self.seed, step, ordinal, variant };
            return Cow::Owned(wording.text(caption, &at));
        }
        match wording.plain(caption) {
            same if same == *caption => Cow::Borrowed(caption),
            plain => Cow::Owned(plain),
        }
    }

    /// The texts that are known before a run: all those of samples whose texts do not vary, that of samples which are
    /// never trained, being held out, and the empty one.
    pub fn fixed(&self) -> BTreeSet<String> {
        let mut fixed = BTreeSet::from([String::new()]);
        for sample in self.samples {
            if sample.held_out {
                fixed.insert(sample.plain_caption());
            } else if !sample.wording.varies() {
                fixed.extend(sample.captions.iter().map(|caption| sample.wording.plain(caption)));
            }
        }
        fixed
    }

    /// Adds to `texts` what the samples of a step's batches read that is not among the fixed texts.
    pub fn add_varied(&self, step: usize, batches: &[Batch], texts: &mut BTreeSet<String>) {
        for batch in batches {
            for (ordinal, &sample) in (batch.first_ordinal..).zip(&batch.samples) {
                if self.samples[sample].wording.varies() {
                    let text = self.text(step, ordinal, sample);
                    // The empty text is fixed.
                    if !text.is_empty() {
                        texts.insert(text.into_owned());
                    }
                }
            }
        }
    }
}

/// Which text encoders the sample number `ordinal` of optimizer step `step` does without; `rates` say how often each.
pub fn encoders_dropped<const N: usize>(
    seed: u64,
    step: usize,
    ordinal: usize,
    rates: [f64; N],
) -> [bool; N] {
    // Lane 0 decides on the whole caption.
    let draw = |encoder: usize| {
        let lane = encoder as u32 + 1;
        Stream::new(seed, Purpose::CaptionDropout, lane, step as u32, ordinal as u32).uniform(0)
    };
    std::array::from_fn(|encoder| f64::from(draw(encoder)) < rates[encoder])
}

#[cfg(test)]
mod tests;
