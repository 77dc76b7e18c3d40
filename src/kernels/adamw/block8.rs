//! Moments in 8 bits: 256 elements share a scale, and a code says which entry of a map of 256 the quotient is nearest
//! to (Dettmers et al., "8-bit Optimizers via Block-wise Quantization", arXiv 2110.02861).
//!
//! The map is the dynamic one of bitsandbytes: seven decades below 1, the larger ones divided more finely. Two things
//! differ. The scale of a signed block has the sign of its largest element, whose quotient is therefore the entry 1:
//! it is kept exactly, and coding decoded values again gives the same codes. And a second moment above 0 never becomes
//! 0, which would let the next update explode.

use std::sync::LazyLock;

/// Elements that share a scale.
pub const BLOCK: usize = 256;
/// Entries of a map.
const ENTRIES: usize = 256;
/// Decades below 1.
const DECADES: u32 = 7;

/// Which of the two maps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Map {
    /// For first moments: both signs.
    Signed,
    /// For second moments: none below 0, and divided twice as finely.
    Unsigned,
}

/// A map's entries and what lies between them.
struct Table {
    /// In ascending order.
    entries: [f32; ENTRIES],
    /// Quotients above `limits[i]` have a code above `i`.
    limits: [f32; ENTRIES - 1],
}

static SIGNED: LazyLock<Table> = LazyLock::new(|| Table::new(Map::Signed));
static UNSIGNED: LazyLock<Table> = LazyLock::new(|| Table::new(Map::Unsigned));

impl Table {
    fn new(map: Map) -> Self {
        let mut positive = vec![1.0];
        for decade in 0..DECADES {
            let parts = if map == Map::Signed { 1 << decade } else { 2 << decade };
            positive.extend((0..parts).map(|part| entry(decade, part, parts)));
        }
        let mut all = positive.clone();
        all.push(0.0);
        if map == Map::Signed {
            all.extend(positive[1..].iter().map(|entry| -entry));
        }
        all.sort_by(f32::total_cmp);
        let mut table = Self { entries: [0.0; ENTRIES], limits: [0.0; ENTRIES - 1] };
        table.entries.copy_from_slice(&all);
        for (limit, neighbours) in table.limits.iter_mut().zip(all.windows(2)) {
            *limit = (neighbours[0] + neighbours[1]) * 0.5;
        }
        if map == Map::Unsigned {
            table.limits[0] = 0.0;
        }
        table
    }
}

/// The middle of part `part` of `parts` equal ones (a power of two) of 0.1 to 1, times 10^(decade - 6): one division of
/// whole numbers, then one by a power of two, so that every device finds the same bits.
fn entry(decade: u32, part: u32, parts: u32) -> f32 {
    let (numerator, fives) = (2 * parts + 18 * part + 9, 5u32.pow(DECADES - decade));
    numerator as f32 / fives as f32 / ((256 >> decade) * parts) as f32
}

impl Map {
    fn table(self) -> &'static Table {
        match self {
            Self::Signed => &SIGNED,
            Self::Unsigned => &UNSIGNED,
        }
    }

    /// The scale of a block: its largest element by magnitude; of two that differ in sign, the positive one.
    fn scale(values: &[f32]) -> f32 {
        let highest = values.iter().copied().fold(0.0, f32::max);
        let lowest = values.iter().copied().fold(0.0, f32::min);
        if highest >= -lowest { highest } else { lowest }
    }

    /// The code of `value` in a block of `scale`.
    fn code(self, value: f32, scale: f32) -> u8 {
        let quotient = if scale == 0.0 { 0.0 } else { value / scale };
        self.table().limits.partition_point(|&limit| limit < quotient) as u8
    }

    /// What a code stands for.
    fn value(self, code: u8, scale: f32) -> f32 {
        self.table().entries[usize::from(code)] * scale
    }

    /// The codes of one block, at most [`BLOCK`] values, and its scale.
    pub fn encode(self, values: &[f32], codes: &mut [u8]) -> f32 {
        let scale = Self::scale(values);
        codes.iter_mut().zip(values).for_each(|(code, &value)| *code = self.code(value, scale));
        scale
    }

    /// The values of one block.
    pub fn decode(self, codes: &[u8], scale: f32, values: &mut [f32]) {
        values.iter_mut().zip(codes).for_each(|(value, &code)| *value = self.value(code, scale));
    }

    /// Replaces values from the beginning of a block on by what their codes stand for.
    fn round(self, values: &mut [f32]) {
        for block in values.chunks_mut(BLOCK) {
            let scale = Self::scale(block);
            block.iter_mut().for_each(|value| *value = self.value(self.code(*value, scale), scale));
        }
    }
}

/// Rounds both moments to what 8 bits hold of them.
pub(super) fn round(moment1: &mut [f32], moment2: &mut [f32]) {
    Map::Signed.round(moment1);
    Map::Unsigned.round(moment2);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Purpose, Stream};

    /// By the rule of bitsandbytes' `create_dynamic_map`, in f64.
    fn published(signed: bool) -> Vec<f64> {
        let mut all = vec![0.0, 1.0];
        for decade in 0..7 {
            let parts = 1 << (decade + i32::from(!signed));
            let boundary = |part: i32| 0.1 + 0.9 * f64::from(part) / f64::from(parts);
            for part in 0..parts {
                let mean = 10f64.powi(decade - 6) * (boundary(part) + boundary(part + 1)) / 2.0;
                all.push(mean);
                all.extend(signed.then_some(-mean));
            }
        }
        all.sort_by(f64::total_cmp);
        all
    }

    #[test]
    fn the_maps_are_the_published_ones() {
        for (map, signed) in [(Map::Signed, true), (Map::Unsigned, false)] {
            let expected = published(signed);
            assert_eq!(expected.len(), ENTRIES);
            for (entry, expected) in map.table().entries.iter().zip(expected) {
                assert!((f64::from(*entry) - expected).abs() <= 1e-7 * expected.abs(), "{entry} {expected}");
            }
        }
    }

    fn draws(lane: u32, make: impl Fn(f32) -> f32) -> Vec<f32> {
        let mut values = vec![0.0; BLOCK];
        Stream::new(3, Purpose::Noise, lane, 0, 0).fill_normal(&mut values);
        values.into_iter().map(make).collect()
    }

    #[test]
    fn what_was_rounded_once_stays_bit_for_bit() {
        let bits = |values: &[f32]| values.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
        for (lane, size) in [1.0f32, 1e-12, 1e12, 1e-36, 1e-40].into_iter().enumerate() {
            for (map, values) in [
                (Map::Signed, draws(lane as u32, |x| size * x)),
                (Map::Signed, draws(lane as u32, |x| -size * x.abs().powi(5))),
                (Map::Unsigned, draws(lane as u32, |x| size * x * x)),
                (Map::Unsigned, vec![0.0; 3]),
            ] {
                let mut once = values.clone();
                map.round(&mut once);
                let mut twice = once.clone();
                map.round(&mut twice);
                assert_eq!(bits(&once), bits(&twice));
                let mut codes = vec![0; values.len()];
                let scale = map.encode(&once, &mut codes);
                map.decode(&codes, scale, &mut twice);
                assert_eq!(bits(&once), bits(&twice));
            }
        }
    }

    #[test]
    fn the_largest_is_exact_and_the_others_are_near() {
        for values in [draws(1, |x| x), draws(1, |x| -x)] {
            let mut rounded = values.clone();
            Map::Signed.round(&mut rounded);
            let largest = values.iter().fold(0.0f32, |a, x| a.max(x.abs()));
            for (value, rounded) in values.iter().zip(&rounded) {
                if value.abs() == largest {
                    assert_eq!(value, rounded);
                }
                // A decade below the largest, 32 parts of 0.9.
                let error = (value - rounded).abs();
                assert!(error <= 0.0071 * largest, "{value} {rounded}");
                assert!(value.abs() > 0.1 * largest || error <= 0.0015 * largest, "{value} {rounded}");
            }
        }
    }

    #[test]
    fn a_second_moment_above_zero_stays_above_zero() {
        let mut values = [1.0, 1e-12, 0.0];
        Map::Unsigned.round(&mut values);
        assert_eq!((values[0], values[2]), (1.0, 0.0));
        assert!(values[1] > 0.0 && values[1] < 1e-6);
    }
}
