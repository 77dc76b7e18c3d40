//! Stochastic rounding to bf16: the nearer of the two neighbours is the likelier one, so that the mean is right.

use crate::kernels::step_state::StepHeader;
use crate::random::{Purpose, Stream};

/// Elements that one block of a stream has bits for.
const ELEMENTS_A_BLOCK: usize = 8;

/// The random bits of one step.
pub(super) struct Rounding {
    parameters: Stream,
    moment1: Stream,
    moment2: Stream,
}

impl Rounding {
    /// The bits of the step that `header` tells of.
    pub(super) fn new(header: &StepHeader) -> Self {
        let seed = u64::from(header.seed[0]) | (u64::from(header.seed[1]) << 32);
        let stream = |lane| Stream::new(seed, Purpose::StochasticRounding, lane, header.step, 0);
        Self { parameters: stream(0), moment1: stream(1), moment2: stream(2) }
    }

    /// Rounds parameters and moments, the first of which is `first` in the flat buffer, a multiple of 8.
    pub(super) fn round(
        &self,
        first: usize,
        parameters: &mut [f32],
        moment1: &mut [f32],
        moment2: &mut [f32],
    ) {
        let streams = [(&self.parameters, parameters), (&self.moment1, moment1), (&self.moment2, moment2)];
        for (stream, values) in streams {
            for (index, values) in values.chunks_mut(ELEMENTS_A_BLOCK).enumerate() {
                let words = stream.block((first / ELEMENTS_A_BLOCK + index) as u32);
                for (element, value) in values.iter_mut().enumerate() {
                    *value = rounded(*value, (words[element / 2] >> (16 * (element % 2))) as u16);
                }
            }
        }
    }
}

/// `value` cut to bf16 after `bits` were added below the cut; what is not finite stays.
fn rounded(value: f32, bits: u16) -> f32 {
    const CUT: u32 = 0xffff_0000;
    if value.is_finite() { f32::from_bits((value.to_bits() + u32::from(bits)) & CUT) } else { value }
}

#[cfg(test)]
mod tests {
    use super::*;
    use half::bf16;

    fn rounding(step: u32) -> Rounding {
        let mut header: StepHeader = bytemuck::Zeroable::zeroed();
        (header.seed, header.step) = ([7, 9], step);
        Rounding::new(&header)
    }

    #[test]
    fn the_mean_of_many_roundings_is_the_value() {
        let value = 1.0 + 0.3 / 128.0;
        let (mut a, mut b, mut c) = (vec![value; 40_000], vec![-value; 40_000], vec![0.0; 40_000]);
        rounding(3).round(0, &mut a, &mut b, &mut c);
        for (values, sign) in [(&a, 1.0), (&b, -1.0)] {
            let upper = values.iter().filter(|&&x| x == sign * (1.0 + 1.0 / 128.0)).count();
            assert_eq!(values.iter().filter(|&&x| x == sign).count(), values.len() - upper);
            let deviation = (0.3f64 * 0.7 * 40_000.0).sqrt();
            assert!((upper as f64 - 0.3 * 40_000.0).abs() < 4.0 * deviation, "{upper}");
        }
        assert!(c.iter().all(|&x| x == 0.0));
    }

    #[test]
    fn an_element_has_its_bits_wherever_a_part_begins_and_every_buffer_has_its_own() {
        let values: Vec<f32> = (0..64).map(|i| 1.0 + i as f32 * 1e-4).collect();
        let (mut a, mut b, mut c) = (values.clone(), values.clone(), values.clone());
        rounding(1).round(0, &mut a, &mut b, &mut c);
        let (mut p, mut m, mut v) = (values[24..].to_vec(), values[24..].to_vec(), values[24..].to_vec());
        rounding(1).round(24, &mut p, &mut m, &mut v);
        assert_eq!((&a[24..], &b[24..], &c[24..]), (&p[..], &m[..], &v[..]));
        assert!(a != b && b != c && a != c);
        let (mut p, mut m, mut v) = (values.clone(), values.clone(), values.clone());
        rounding(2).round(0, &mut p, &mut m, &mut v);
        assert!(a != p);
        let stream = Stream::new(7 | (9 << 32), Purpose::StochasticRounding, 0, 1, 0);
        let expected = values.iter().enumerate().map(|(i, &x)| rounded(x, stream.half_word(i)));
        assert_eq!(a, expected.collect::<Vec<_>>());
    }

    #[test]
    fn what_bf16_holds_stays_and_what_is_not_finite_too() {
        for value in [0.0, -0.0, 1.0, -3.5, f32::INFINITY, f32::NEG_INFINITY, bf16::MAX.to_f32()] {
            for bits in [0, 1, u16::MAX] {
                assert_eq!(rounded(value, bits).to_bits(), value.to_bits());
            }
        }
        assert!(rounded(f32::NAN, u16::MAX).is_nan());
    }
}
