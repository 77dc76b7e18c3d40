//! Which pictures are held out of training, to see how the model does on what it was not shown.

use super::Sample;
use crate::random::{Purpose, Stream};
use std::collections::BTreeMap;

/// Takes `share` of `samples` out of training and returns their indices: at least one and at most half of them, and
/// none where the share is 0 or there is only one picture.
///
/// The choice is a function of the seed and of each picture's contents, so it hardly changes when pictures are added.
/// Copies of one picture go together, since a copy that is trained on tells nothing.
pub fn hold_out(samples: &mut [Sample], share: f64, seed: u64) -> Vec<usize> {
    let most = samples.len() / 2;
    if share <= 0.0 || most == 0 {
        return Vec::new();
    }
    let wanted = ((samples.len() as f64 * share).round() as usize).clamp(1, most);
    let mut held_out = Vec::new();
    for copies in in_drawn_order(samples, seed) {
        if held_out.len() >= wanted {
            break;
        }
        if held_out.len() + copies.len() <= most {
            held_out.extend(copies);
        }
    }
    held_out.sort_unstable();
    for &index in &held_out {
        samples[index].held_out = true;
        // They are evaluated in one form, always the same.
        samples[index].views.truncate(1);
    }
    held_out
}

/// The samples, copies of one picture together, in an order that depends on their contents.
fn in_drawn_order(samples: &[Sample], seed: u64) -> Vec<Vec<usize>> {
    let mut copies: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (index, sample) in samples.iter().enumerate() {
        copies.entry(&sample.content_hash).or_default().push(index);
    }
    let mut drawn: Vec<_> = copies
        .into_iter()
        .map(|(hash, copies)| {
            let name = crc32c::crc32c(hash.as_bytes());
            (Stream::new(seed, Purpose::HeldOut, 0, 0, name).word(0), hash, copies)
        })
        .collect();
    drawn.sort_unstable();
    drawn.into_iter().map(|(_, _, copies)| copies).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::Bucket;
    use proptest::prelude::*;

    fn samples(hashes: impl IntoIterator<Item = usize>) -> Vec<Sample> {
        let sample = |hash: usize| Sample {
            path: format!("{hash}.png").into(),
            content_hash: format!("{hash:064x}"),
            size: (64, 64),
            bucket: Bucket { width: 64, height: 64 },
            views: Vec::new(),
            captions: vec!["a picture".into()],
            wording: Default::default(),
            source: 0,
            held_out: false,
        };
        hashes.into_iter().map(sample).collect()
    }

    #[test]
    fn nothing_is_held_out_unless_asked_for_and_possible() {
        assert!(hold_out(&mut samples(0..10), 0.0, 1).is_empty());
        assert!(hold_out(&mut samples(0..1), 0.5, 1).is_empty());
        assert_eq!(hold_out(&mut samples(0..2), 0.01, 1).len(), 1);
        assert_eq!(hold_out(&mut samples(0..100), 0.1, 1).len(), 10);
    }

    #[test]
    fn a_picture_that_is_added_leaves_most_of_the_choice_alone() {
        let chosen = |count: usize| {
            let mut all = samples(0..count);
            hold_out(&mut all, 0.2, 7).into_iter().map(|i| all[i].content_hash.clone()).collect::<Vec<_>>()
        };
        let (before, after) = (chosen(50), chosen(51));
        assert!(before.iter().filter(|hash| after.contains(hash)).count() >= before.len() - 1);
    }

    proptest! {
        #[test]
        fn copies_go_together_and_at_most_half_is_held_out(
            hashes in prop::collection::vec(0usize..12, 2..40), share in 0.0f64..=0.5, seed: u64,
        ) {
            let mut all = samples(hashes.clone());
            let held_out = hold_out(&mut all, share, seed);
            prop_assert!(held_out.len() <= all.len() / 2);
            for (index, sample) in all.iter().enumerate() {
                prop_assert_eq!(sample.held_out, held_out.contains(&index));
                let copies = all.iter().filter(|other| other.content_hash == sample.content_hash);
                prop_assert!(copies.into_iter().all(|copy| copy.held_out == sample.held_out));
            }
        }
    }
}
