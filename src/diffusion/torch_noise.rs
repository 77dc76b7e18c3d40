//! Standard normal noise as PyTorch's CPU generator draws it, so that one seed gives one picture everywhere.
//!
//! This is the only randomness here that is not Philox: MT19937 (Matsumoto and Nishimura 1998) with the two ways of
//! `torch.randn`: sixteen at a time in single precision, and one at a time in double precision below sixteen values.

use std::f32::consts::TAU as TAU_F32;
use std::f64::consts::TAU;

/// Values that torch transforms together.
const GROUP: usize = 16;

/// `torch.randn(count, generator=torch.Generator("cpu").manual_seed(seed))`, f32.
pub fn randn(seed: u64, count: usize) -> Vec<f32> {
    let mut generator = MersenneTwister::new(seed as u32);
    if count < GROUP { one_by_one(&mut generator, count) } else { in_groups(&mut generator, count) }
}

/// Uniforms everywhere, then Box-Muller within each group: values j and j + 8 are cosine and sine of one pair.
/// A remainder is not transformed as such: the last sixteen values are drawn anew.
fn in_groups(generator: &mut MersenneTwister, count: usize) -> Vec<f32> {
    let mut values: Vec<f32> = (0..count).map(|_| generator.uniform_f32()).collect();
    values.chunks_exact_mut(GROUP).for_each(transform_group);
    if !count.is_multiple_of(GROUP) {
        let last = &mut values[count - GROUP..];
        last.fill_with(|| generator.uniform_f32());
        transform_group(last);
    }
    values
}

fn transform_group(group: &mut [f32]) {
    let (radii, angles) = group.split_at_mut(GROUP / 2);
    for (first, second) in radii.iter_mut().zip(angles) {
        let radius = (-2.0 * (1.0 - *first).ln()).sqrt();
        let (sin, cos) = (TAU_F32 * *second).sin_cos();
        (*first, *second) = (radius * cos, radius * sin);
    }
}

/// Box-Muller in double precision; the sine of a pair is the next value.
fn one_by_one(generator: &mut MersenneTwister, count: usize) -> Vec<f32> {
    let mut values = Vec::with_capacity(count + 1);
    while values.len() < count {
        let angle = TAU * generator.uniform_f64();
        let radius = (-2.0 * (-generator.uniform_f64()).ln_1p()).sqrt();
        values.extend([(radius * angle.cos()) as f32, (radius * angle.sin()) as f32]);
    }
    values.truncate(count);
    values
}

/// MT19937.
struct MersenneTwister {
    state: [u32; Self::WORDS],
    next: usize,
}

impl MersenneTwister {
    const WORDS: usize = 624;
    const OFFSET: usize = 397;

    fn new(seed: u32) -> Self {
        let mut state = [seed; Self::WORDS];
        for i in 1..Self::WORDS {
            let previous = state[i - 1];
            state[i] = (previous ^ (previous >> 30)).wrapping_mul(1_812_433_253).wrapping_add(i as u32);
        }
        Self { state, next: Self::WORDS }
    }

    fn word(&mut self) -> u32 {
        if self.next == Self::WORDS {
            self.refill();
        }
        let mut word = self.state[self.next];
        self.next += 1;
        word ^= word >> 11;
        word ^= (word << 7) & 0x9d2c_5680;
        word ^= (word << 15) & 0xefc6_0000;
        word ^ (word >> 18)
    }

    fn refill(&mut self) {
        for i in 0..Self::WORDS {
            let joined = (self.state[i] & 0x8000_0000) | (self.state[(i + 1) % Self::WORDS] & 0x7fff_ffff);
            let twist = if joined & 1 == 1 { 0x9908_b0df } else { 0 };
            self.state[i] = self.state[(i + Self::OFFSET) % Self::WORDS] ^ (joined >> 1) ^ twist;
        }
        self.next = 0;
    }

    /// Uniform in [0, 1) with 24 bits.
    fn uniform_f32(&mut self) -> f32 {
        (self.word() & 0xff_ffff) as f32 / (1u32 << 24) as f32
    }

    /// Uniform in [0, 1) with 53 bits of two words, the first one high.
    fn uniform_f64(&mut self) -> f64 {
        let wide = (u64::from(self.word()) << 32) | u64::from(self.word());
        (wide & ((1 << 53) - 1)) as f64 / (1u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// First four and last four values, sum, and sum of squares, printed by torch 2.15.0 on a CPU.
    struct Reference {
        seed: u64,
        count: usize,
        first: [f64; 4],
        last: [f64; 4],
        sum: f64,
        squares: f64,
    }

    #[rustfmt::skip]
    const REFERENCES: [Reference; 20] = [
        Reference { seed: 0, count: 5, first: [1.5409961, -0.2934289, -2.1787894, 0.56843126], last: [-0.2934289, -2.1787894, 0.56843126, -1.0845224], sum: -1.44731331, squares: 8.70719543 },
        Reference { seed: 0, count: 15, first: [1.5409961, -0.2934289, -2.1787894, 0.56843126], last: [0.18203649, -0.85667461, 1.1006042, -1.0711874], sum: -3.96899337, squares: 15.6900333 },
        Reference { seed: 0, count: 17, first: [-1.1258398, -1.6959312, 0.56665063, 0.79350835], last: [1.5863342, 0.94629836, -0.84367675, 0.93182659], sum: 2.99660669, squares: 18.969553 },
        Reference { seed: 0, count: 100, first: [-1.1258398, -1.1523602, -0.25057858, -0.43387881], last: [0.20641631, -0.33344787, -0.42883, 0.23291829], sum: 3.71411355, squares: 105.08562 },
        Reference { seed: 0, count: 4096, first: [-1.1258398, -1.1523602, -0.25057858, -0.43387881], last: [-2.0720992, -3.0356858, -1.7288471, 0.60198212], sum: -39.4462694, squares: 4041.35175 },
        Reference { seed: 42, count: 5, first: [0.33669037, 0.12880941, 0.23446237, 0.23033303], last: [0.12880941, 0.23446237, 0.23033303, -1.1228564], sum: -0.192561209, squares: 1.49878462 },
        Reference { seed: 42, count: 15, first: [0.33669037, 0.12880941, 0.23446237, 0.23033303], last: [0.80935723, 1.1102903, -1.689799, -0.98895991], sum: 1.6961163, squares: 13.1086892 },
        Reference { seed: 42, count: 17, first: [1.9269153, -0.15959747, -0.49739754, 0.43958926], last: [0.041759491, -0.25157529, 0.85985851, -0.30972677], sum: 8.21729577, squares: 14.2979295 },
        Reference { seed: 42, count: 100, first: [1.9269153, 1.4872841, 0.9007172, -2.105521], last: [-0.98643863, 0.12329912, 0.34986776, 0.61728072], sum: 5.97655856, squares: 96.6770338 },
        Reference { seed: 42, count: 4096, first: [1.9269153, 1.4872841, 0.9007172, -2.105521], last: [2.6677625, -0.14031292, 0.94161946, -0.011842877], sum: -4.41226103, squares: 4063.34549 },
        Reference { seed: 100, count: 5, first: [0.3606559, -0.28592116, -0.39381808, 0.24293792], last: [-0.28592116, -0.39381808, 0.24293792, -1.3833234], sum: -1.45946884, squares: 2.33951882 },
        Reference { seed: 100, count: 15, first: [0.3606559, -0.28592116, -0.39381808, 0.24293792], last: [0.47898835, -2.3651607, -0.80468112, 0.6587435], sum: -6.49141675, squares: 19.5308709 },
        Reference { seed: 100, count: 17, first: [0.12684928, 1.5914438, -0.024669176, -0.84661406], last: [-1.7735559, -0.22050047, 2.746675, -1.0479827], sum: -1.49064126, squares: 18.2776557 },
        Reference { seed: 100, count: 100, first: [0.12684928, 1.3563979, 0.56322306, -0.10392858], last: [-0.139183, -2.2131286, -0.69496727, -0.74363315], sum: -15.9252071, squares: 111.925021 },
        Reference { seed: 100, count: 4096, first: [0.12684928, 1.3563979, 0.56322306, -0.10392858], last: [-0.70676762, -1.9303272, -0.84994185, -1.0295854], sum: 26.9773297, squares: 4028.77371 },
        Reference { seed: 4294967301, count: 5, first: [-0.48678076, -0.60382158, -0.55809623, 0.66752428], last: [-0.60382158, -0.55809623, 0.66752428, -0.1974151], sum: -1.17858939, squares: 1.39758879 },
        Reference { seed: 4294967301, count: 15, first: [-0.48678076, -0.60382158, -0.55809623, 0.66752428], last: [0.69071877, 0.22245859, -0.66622525, 0.6846422], sum: -1.294186, squares: 10.6754377 },
        Reference { seed: 4294967301, count: 17, first: [1.8423299, 1.2220253, -0.33644935, -0.96506017], last: [0.49403808, 0.24921878, 1.7470315, 0.74477696], sum: 7.04956247, squares: 24.0360875 },
        Reference { seed: 4294967301, count: 100, first: [1.8423299, 0.51888716, -1.7119213, -1.7013793], last: [0.12605171, 0.060349006, -0.56770211, -1.0959635], sum: 1.45525772, squares: 110.624867 },
        Reference { seed: 4294967301, count: 4096, first: [1.8423299, 0.51888716, -1.7119213, -1.7013793], last: [0.99189246, 1.6527396, -1.3805265, -1.5640666], sum: 16.3631744, squares: 3892.22193 },
    ];

    #[test]
    fn values_are_those_of_torch() {
        for Reference { seed, count, first, last, sum, squares } in REFERENCES {
            let values = randn(seed, count);
            let near = |ours: &[f32], torch: &[f64]| {
                ours.iter().zip(torch).all(|(&ours, torch)| (f64::from(ours) - torch).abs() <= 5e-7)
            };
            assert!(near(&values[..4], &first), "seed {seed}, {count} values start {:?}", &values[..4]);
            assert!(
                near(&values[count - 4..], &last),
                "seed {seed}, {count} values end {:?}",
                &values[count - 4..]
            );
            let total: f64 = values.iter().map(|&value| f64::from(value)).sum();
            let power: f64 = values.iter().map(|&value| f64::from(value).powi(2)).sum();
            assert!((total - sum).abs() < 1e-7 * count as f64, "seed {seed}, {count} values");
            assert!((power - squares).abs() < 4e-7 * count as f64, "seed {seed}, {count} values");
        }
    }

    #[test]
    fn only_the_low_half_of_the_seed_counts_and_any_length_works() {
        assert_eq!(randn((1 << 32) + 5, 20), randn(5, 20));
        for count in 0..40 {
            assert_eq!(randn(3, count).len(), count);
        }
        assert_eq!(randn(9, 7), randn(9, 8)[..7]);
    }
}
