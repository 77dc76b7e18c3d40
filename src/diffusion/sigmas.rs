//! Noise levels: the shift, the training table and the sampling schedule of SD3.5, in f64.
//!
//! The numbers are those of diffusers' `FlowMatchEulerDiscreteScheduler`, which agrees with Stability's reference.

use crate::error::{Error, ErrorKind, Result};

/// Rows of the training table, and the factor from sigma to the model's time.
pub const TRAINING_LEVELS: usize = 1000;

/// Moves a noise level towards noise: `s * sigma / (1 + (s - 1) * sigma)`; shift 1 changes nothing.
pub fn shifted(sigma: f64, shift: f64) -> f64 {
    shift * sigma / (1.0 + (shift - 1.0) * sigma)
}

/// The shift that grows with the picture: `exp(mu)`, mu linear in the number of image tokens,
/// from 0.5 at 256 tokens to 1.15 at 4096. A latent of H x W has `(H / 2) * (W / 2)` tokens.
pub fn auto_shift(image_tokens: usize) -> f64 {
    auto_shift_mu(image_tokens).exp()
}

/// The logarithm of [`auto_shift`].
pub fn auto_shift_mu(image_tokens: usize) -> f64 {
    let slope = (1.15 - 0.5) / (4096.0 - 256.0);
    slope * (image_tokens as f64 - 256.0) + 0.5
}

/// The model's time for a noise level; kept in f32 up to the sine features, since bf16 would round 999 to 1000.
pub fn timestep(sigma: f64) -> f32 {
    (TRAINING_LEVELS as f64 * sigma) as f32
}

/// The 1000 shifted levels that training may quantise to, descending: row 0 is 1, row 999 is `shifted(0.001)`.
pub fn training_sigmas(shift: f64) -> Vec<f64> {
    (1..=TRAINING_LEVELS).rev().map(|level| shifted(level as f64 / TRAINING_LEVELS as f64, shift)).collect()
}

/// The noise levels that a sampler visits.
#[derive(Debug, Clone, PartialEq)]
pub struct Schedule {
    sigmas: Vec<f64>,
}

impl Schedule {
    /// `steps` levels from 1 downwards, then 0.
    ///
    /// The levels are evenly spaced between 1 and the training minimum, which is already shifted, and are then
    /// shifted: so the shift acts twice at the low end, as in the reference, and the last level at shift 3 is
    /// 0.00893 and not 0.00299. One step goes from 1 to 0.
    ///
    /// # Errors
    /// No steps, or a shift that is not a positive number.
    pub fn sampling(steps: usize, shift: f64) -> Result<Self> {
        if steps == 0 {
            return Err(schedule_error("there must be at least one sampling step"));
        }
        if !(shift.is_finite() && shift > 0.0) {
            return Err(schedule_error(&format!("the shift must be a positive number, not {shift}")));
        }
        let lowest = shifted(1.0 / TRAINING_LEVELS as f64, shift);
        let spacing = (1.0 - lowest) / steps.saturating_sub(1).max(1) as f64;
        let mut sigmas: Vec<f64> =
            (0..steps).map(|step| shifted(1.0 - step as f64 * spacing, shift)).collect();
        sigmas.push(0.0);
        Ok(Self { sigmas })
    }

    /// Number of model evaluations (without guidance).
    pub fn steps(&self) -> usize {
        self.sigmas.len() - 1
    }

    /// The levels, one more than steps; the last is 0.
    pub fn sigmas(&self) -> &[f64] {
        &self.sigmas
    }

    /// The levels in f32, in which the sampler works.
    pub fn sigmas_f32(&self) -> Vec<f32> {
        self.sigmas.iter().map(|&sigma| sigma as f32).collect()
    }

    /// The model's time at each step.
    pub fn timesteps(&self) -> Vec<f32> {
        self.sigmas[..self.steps()].iter().map(|&sigma| timestep(sigma)).collect()
    }
}

fn schedule_error(cause: &str) -> Error {
    Error::new(ErrorKind::Settings, "noise schedule", cause)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values printed by diffusers for one and two steps, where a single step keeps the highest level.
    #[test]
    fn few_steps_are_those_of_diffusers() {
        assert_eq!(Schedule::sampling(1, 3.0).unwrap().sigmas(), [1.0, 0.0]);
        let two = Schedule::sampling(2, 3.0).unwrap();
        assert!((two.sigmas()[1] - 0.008928571827709675).abs() < 1e-9);
        assert_eq!(two.timesteps()[0], 1000.0);
    }

    #[test]
    fn the_shift_acts_twice_on_the_last_level_for_any_number_of_steps() {
        for steps in [2, 3, 4, 7, 28, 100, 1000] {
            let schedule = Schedule::sampling(steps, 3.0).unwrap();
            assert_eq!(schedule.sigmas()[0], 1.0);
            assert!((schedule.sigmas()[steps - 1] - 0.008929).abs() < 5e-7);
            assert_eq!(schedule.sigmas()[steps], 0.0);
            assert!(schedule.sigmas().windows(2).all(|pair| pair[0] > pair[1]));
        }
        let thirty = Schedule::sampling(30, 3.0).unwrap();
        for (step, expected) in [(1, 0.988271), (2, 0.975979), (3, 0.963082), (27, 0.188245), (28, 0.104323)]
        {
            assert!((thirty.sigmas()[step] - expected).abs() < 5e-7);
        }
    }

    #[test]
    fn the_automatic_shift_follows_the_number_of_tokens() {
        for (tokens, mu, shift) in [(4096, 1.15, 3.158), (4032, 1.1392, 3.124), (3952, 1.1256, 3.082)] {
            assert!((auto_shift_mu(tokens) - mu).abs() < 5e-5);
            assert!((auto_shift(tokens) - shift).abs() < 5e-4);
        }
    }

    #[test]
    fn times_are_not_rounded_to_sixteen_bits() {
        for time in [999.0f32, 257.0, 737.3] {
            assert!((timestep(f64::from(time) / 1000.0) - time).abs() < 1e-4);
        }
    }

    #[test]
    fn impossible_schedules_are_refused() {
        for (steps, shift) in [(0, 3.0), (4, 0.0), (4, -1.0), (4, f64::NAN), (4, f64::INFINITY)] {
            assert_eq!(Schedule::sampling(steps, shift).unwrap_err().kind, ErrorKind::Settings);
        }
    }
}
