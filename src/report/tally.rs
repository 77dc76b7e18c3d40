//! Which samples training finds hard: their losses beside the usual ones at the same noise levels.

use super::samples::StepSamples;
use std::collections::BTreeMap;

/// Equal parts of the noise levels from 0 to 1; within one, losses are compared.
const PARTS: usize = 12;
/// Appearances below which nothing is said of a sample.
const FEWEST: u64 = 3;

/// Sum and number of losses.
#[derive(Debug, Clone, Copy, Default)]
struct Sum {
    loss: f64,
    count: u64,
}

/// See the module's documentation.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    /// By noise level.
    usual: [Sum; PARTS],
    /// By sample and noise level.
    samples: BTreeMap<usize, [Sum; PARTS]>,
}

impl Tally {
    /// Counts the losses of a step.
    pub fn add(&mut self, step: &StepSamples) {
        for shown in step.samples.iter().filter(|shown| shown.loss.is_finite()) {
            let part = ((f64::from(shown.sigma) * PARTS as f64) as usize).min(PARTS - 1);
            let own = self.samples.entry(shown.sample).or_default();
            for sum in [&mut self.usual[part], &mut own[part]] {
                sum.loss += f64::from(shown.loss);
                sum.count += 1;
            }
        }
    }

    /// The `count` samples whose loss is the most above the usual, the hardest first, each with how many times the
    /// usual loss it has.
    pub fn hardest(&self, count: usize) -> Vec<(usize, f64)> {
        let usual = self.usual.map(|sum| sum.loss / sum.count.max(1) as f64);
        let relative = |(&sample, own): (&usize, &[Sum; PARTS])| {
            let appearances: u64 = own.iter().map(|sum| sum.count).sum();
            let expected: f64 = own.iter().zip(usual).map(|(sum, usual)| usual * sum.count as f64).sum();
            let found: f64 = own.iter().map(|sum| sum.loss).sum();
            (appearances >= FEWEST && expected > 0.0).then(|| (sample, found / expected))
        };
        let mut all: Vec<_> = self.samples.iter().filter_map(relative).collect();
        all.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        all.truncate(count);
        all
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples::ShownSample;
    use super::*;

    /// A step that shows these (sample, sigma, loss).
    fn step(shown: &[(usize, f32, f32)]) -> StepSamples {
        let one = |&(sample, sigma, loss): &(usize, f32, f32)| ShownSample { sample, view: 0, sigma, loss };
        StepSamples { step: 1, samples: shown.iter().map(one).collect() }
    }

    #[test]
    fn a_sample_is_compared_at_its_own_noise_levels() {
        let mut tally = Tally::default();
        for _ in 0..4 {
            // Sample 0 is seen where every loss is high, sample 1 is twice as hard as its neighbour 2.
            tally.add(&step(&[(0, 0.95, 2.0), (3, 0.95, 2.0), (1, 0.2, 0.5), (2, 0.2, 0.25)]));
        }
        let hardest = tally.hardest(2);
        assert_eq!(hardest[0].0, 1);
        assert!((hardest[0].1 - 0.5 / 0.375).abs() < 1e-12 && (hardest[1].1 - 1.0).abs() < 1e-12);
    }

    #[test]
    fn rare_samples_and_losses_that_are_no_numbers_say_nothing() {
        let mut tally = Tally::default();
        tally.add(&step(&[(0, 0.5, 9.0), (1, 0.5, f32::NAN), (2, 1.0, f32::INFINITY)]));
        assert!(tally.hardest(5).is_empty());
    }
}
