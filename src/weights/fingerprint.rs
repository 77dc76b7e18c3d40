//! A name for the content of a model part, the same for every layout it may be stored in.

use super::weight_map::WeightMap;
use crate::error::Result;
use sha2::{Digest, Sha256};
use std::ops::Range;

/// A tensor of more bytes than this is sampled.
const WHOLE: usize = 128 * 1024;
/// Stretches that a sampled tensor is read in, evenly spread; the first and the last byte are among them.
const STRETCHES: usize = 16;

/// SHA-256, in hex, over canonical names, shapes, dtypes and stored values in canonical row order.
///
/// Large tensors are sampled, so that a model of many gigabytes takes seconds; a retrained model differs everywhere.
/// Fails if a part of the content cannot be read.
pub fn fingerprint(weights: &WeightMap) -> Result<String> {
    if let Some(reason) = weights.first_refusal() {
        return Err(reason.clone());
    }
    let mut hash = Sha256::new();
    for weight in weights.weights() {
        hash.update(format!("{} {} {}\n", weight.name, weight.shape, weight.storage));
        let pieces = weight.stored_rows(0..weight.row_count())?;
        for sample in samples(weight.bytes()) {
            let mut first = 0;
            for piece in &pieces {
                let last = first + piece.bytes.len();
                let (start, end) = (sample.start.max(first), sample.end.min(last));
                if start < end {
                    hash.update(&piece.bytes[start - first..end - first]);
                }
                first = last;
            }
        }
    }
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Which of `bytes` bytes are read.
fn samples(bytes: usize) -> Vec<Range<usize>> {
    let (count, length) = if bytes <= WHOLE { (1, bytes) } else { (STRETCHES, WHOLE / STRETCHES) };
    let last = bytes - length;
    let start = |i| if i + 1 == count { last } else { last / (count - 1) * i };
    (0..count).map(start).map(|start| start..start + length).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_disjoint_ordered_and_reach_both_ends() {
        for bytes in [1, WHOLE, WHOLE + 1, 3 * WHOLE + 17, 1 << 30] {
            let samples = samples(bytes);
            assert_eq!(samples[0].start, 0);
            assert_eq!(samples[samples.len() - 1].end, bytes);
            assert!(samples.windows(2).all(|pair| pair[0].start < pair[1].start), "{bytes}");
            assert_eq!(samples.iter().map(Range::len).sum::<usize>(), bytes.min(WHOLE), "{bytes}");
        }
    }
}
