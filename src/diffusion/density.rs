//! Which noise levels training visits, and how much each counts.
//!
//! A base draw (normal or uniform) becomes `u` in (0, 1) by the density, and `u` becomes sigma by the shift.

use super::sigmas::{TRAINING_LEVELS, shifted};
use crate::random::{Purpose, Stream};
use std::f64::consts::{FRAC_PI_2, PI};

/// The distribution of `u` before the shift (Esser et al., "Scaling Rectified Flow Transformers", section 3.1).
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Density {
    /// `sigmoid(mean + std * n)`, n standard normal.
    LogitNormal {
        /// Location; 0 is symmetric.
        mean: f64,
        /// Spread; 1 is the usual.
        std: f64,
    },
    /// Mode sampling with heavy tails, from a uniform draw; 1.29 is the usual scale.
    Mode {
        /// Positive favours the middle, negative the ends.
        scale: f64,
    },
    /// `u` itself.
    Uniform,
}

impl Density {
    /// `u` from a base draw: standard normal for [`Density::LogitNormal`], uniform in (0, 1) for the others.
    pub fn u(self, base: f64) -> f64 {
        match self {
            Self::LogitNormal { mean, std } => 1.0 / (1.0 + (-(mean + std * base)).exp()),
            Self::Mode { scale } => {
                let cosine = (FRAC_PI_2 * base).cos();
                1.0 - base - scale * (cosine * cosine - 1.0 + base)
            }
            Self::Uniform => base,
        }
    }

    /// `u` below which the share `p` in (0, 1) of all draws lies (for [`Density::Mode`], above which).
    fn quantile(self, p: f64) -> f64 {
        self.u(match self {
            Self::LogitNormal { .. } => normal_quantile(p),
            Self::Mode { .. } | Self::Uniform => p,
        })
    }

    /// The base draw of a sample in a step.
    fn base(self, seed: u64, step: u32, sample: u32) -> f64 {
        let stream = Stream::new(seed, Purpose::Sigma, 0, step, sample);
        f64::from(match self {
            Self::LogitNormal { .. } => stream.normal(0),
            Self::Mode { .. } | Self::Uniform => stream.uniform(0),
        })
    }
}

/// How training draws noise levels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SigmaDraw {
    /// Distribution before the shift.
    pub density: Density,
    /// The shift; 1 is none.
    pub shift: f64,
}

impl SigmaDraw {
    /// The noise level of `sample` in `step`, continuous in (0, 1).
    pub fn draw(self, seed: u64, step: u32, sample: u32) -> f64 {
        shifted(self.density.u(self.density.base(seed, step, sample)), self.shift)
    }

    /// `count` noise levels that stand for all draws: the middles of as many equally probable parts.
    pub fn levels(self, count: usize) -> Vec<f64> {
        let middle = |part: usize| (part as f64 + 0.5) / count as f64;
        let mut levels: Vec<_> =
            (0..count).map(|part| shifted(self.density.quantile(middle(part)), self.shift)).collect();
        levels.sort_by(f64::total_cmp);
        levels
    }
}

/// The standard normal number below which the share `p` lies, by halving an interval.
fn normal_quantile(p: f64) -> f64 {
    let share_below = |x: f64| 0.5 * libm::erfc(-x / std::f64::consts::SQRT_2);
    let (mut low, mut high) = (-40.0, 40.0);
    for _ in 0..100 {
        let middle = 0.5 * (low + high);
        if share_below(middle) < p { low = middle } else { high = middle }
    }
    0.5 * (low + high)
}

/// The row of the descending training table for `u`, as diffusers' script quantises it: `floor(1000 u)`.
/// The product is formed in f32 as there; `u` of 1 and beyond takes the last row.
pub fn schedule_index(u: f32) -> usize {
    ((u * TRAINING_LEVELS as f32) as usize).min(TRAINING_LEVELS - 1)
}

/// How much the squared velocity error of a sample counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LossWeighting {
    /// 1: the plain flow-matching loss.
    None,
    /// `sigma^-2` (the name is diffusers'; no root is taken).
    SigmaSqrt,
    /// `2 / (pi * (1 - 2 sigma + 2 sigma^2))`.
    Cosmap,
}

impl LossWeighting {
    /// The weight at `sigma`.
    pub fn weight(self, sigma: f64) -> f64 {
        match self {
            Self::None => 1.0,
            Self::SigmaSqrt => sigma.powi(-2),
            Self::Cosmap => 2.0 / (PI * (1.0 - 2.0 * sigma + 2.0 * sigma * sigma)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_quantiles_of_the_normal_distribution_are_those_of_tables() {
        for (p, x) in [(0.5, 0.0), (0.975, 1.959_963_985), (0.1, -1.281_551_566), (0.001, -3.090_232_306)] {
            assert!((normal_quantile(p) - x).abs() < 1e-8, "{p}");
        }
    }

    #[test]
    fn levels_have_equal_shares_of_the_draws_between_them() {
        let densities =
            [Density::LogitNormal { mean: 0.3, std: 0.8 }, Density::Mode { scale: 1.29 }, Density::Uniform];
        for density in densities {
            let draw = SigmaDraw { density, shift: 3.0 };
            let levels = draw.levels(4);
            let draws: Vec<f64> = (0..20_000).map(|sample| draw.draw(5, 0, sample)).collect();
            for (index, level) in levels.iter().enumerate() {
                let below = draws.iter().filter(|draw| *draw < level).count() as f64 / draws.len() as f64;
                assert!((below - (index as f64 + 0.5) / 4.0).abs() < 0.015, "{density:?} {index} {below}");
            }
        }
    }

    /// Predicting the clean latents, `x - sigma * velocity`, instead of the velocity multiplies the loss by sigma^2.
    #[test]
    fn a_loss_on_clean_latents_is_the_velocity_loss_times_sigma_squared() {
        let (latents, noise, velocity) = (0.7, -1.2, 0.4);
        for sigma in [0.1, 0.5, 0.95] {
            let noisy = (1.0 - sigma) * latents + sigma * noise;
            let preconditioned: f64 =
                (noisy - sigma * velocity - latents) * LossWeighting::None.weight(sigma);
            let plain: f64 = velocity - (noise - latents);
            assert!((preconditioned.powi(2) - sigma * sigma * plain.powi(2)).abs() < 1e-12);
            let undone = preconditioned.powi(2) * LossWeighting::SigmaSqrt.weight(sigma);
            assert!((undone - plain.powi(2)).abs() < 1e-12);
        }
    }

    /// Published moments of the logit-normal density at shift 3: mean 0.714, median 0.75, P(sigma > 0.9) = 0.136.
    #[test]
    fn draws_follow_the_density() {
        let draw = SigmaDraw { density: Density::LogitNormal { mean: 0.0, std: 1.0 }, shift: 3.0 };
        let count = 40_000;
        let mut sigmas: Vec<f64> = (0..count).map(|sample| draw.draw(1, 2, sample)).collect();
        sigmas.sort_by(f64::total_cmp);
        let mean = sigmas.iter().sum::<f64>() / f64::from(count);
        let high = sigmas.iter().filter(|&&sigma| sigma > 0.9).count() as f64 / f64::from(count);
        assert!((mean - 0.714).abs() < 0.004, "mean {mean}");
        assert!((sigmas[sigmas.len() / 2] - 0.75).abs() < 0.006);
        assert!((high - 0.136).abs() < 0.006, "high {high}");
        assert_ne!(draw.draw(1, 2, 0), draw.draw(1, 3, 0));
        assert_eq!(draw.draw(1, 2, 9), draw.draw(1, 2, 9));
    }

    #[test]
    fn the_table_row_stays_inside_the_table() {
        assert_eq!(schedule_index(0.0), 0);
        assert_eq!(schedule_index(0.9999), 999);
        assert_eq!(schedule_index(1.0), 999);
        assert_eq!(schedule_index(-0.1), 0);
    }
}
