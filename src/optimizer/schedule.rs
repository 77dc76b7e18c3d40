//! Learning-rate schedules: those of Hugging Face's trainers, and SimpleTuner's waves under their own names.

use crate::error::{Error, Result};
use std::f64::consts::PI;

/// The shape of the learning rate over the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScheduleKind {
    /// Always the base rate; warm-up is ignored.
    Constant,
    /// The base rate after a linear warm-up.
    ConstantWithWarmup,
    /// Warm-up, then a straight line to 0.
    Linear,
    /// Warm-up, then half a cosine to 0.
    Cosine,
    /// Warm-up, then `cycles` half cosines, each from the base rate to 0.
    CosineWithRestarts,
    /// Warm-up, then `end + (base - end) * (1 - progress)^power`.
    Polynomial,
    /// SimpleTuner's `sine`: swings between base and `end` from the middle upwards; half a period is `warmup` steps.
    Sine,
    /// SimpleTuner's `cosine`: swings between base and `end` from base downwards; half a period is `warmup` steps.
    CosineWave,
}

/// A learning rate as a pure function of the step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LearningRate {
    /// Shape.
    pub kind: ScheduleKind,
    /// The highest rate.
    pub base: f64,
    /// Warm-up steps; for the waves, steps of half a period.
    pub warmup: u64,
    /// Optimizer steps of the whole run.
    pub total: u64,
    /// The lowest rate of the polynomial and of the waves.
    pub end: f64,
    /// Power of the polynomial.
    pub power: f64,
    /// Cycles of the cosine with restarts.
    pub cycles: f64,
}

/// Half a period of [`ScheduleKind::CosineWave`] when no warm-up is set.
const DEFAULT_HALF_PERIOD: u64 = 1000;

impl LearningRate {
    /// Says whether every step has a rate.
    ///
    /// # Errors
    /// A sine without a half period; a base, end, power or cycle count that is not a usable number.
    pub fn check(&self) -> Result<()> {
        let usable = |value: f64| value.is_finite() && value >= 0.0;
        if !usable(self.base) {
            return Err(Error::setting("learning_rate", format!("{} is not a rate", self.base)));
        }
        if !usable(self.end) {
            return Err(Error::setting("lr_end", format!("{} is not a rate", self.end)));
        }
        if !usable(self.power) {
            return Err(Error::setting("lr_power", format!("{} is not a power", self.power)));
        }
        if !usable(self.cycles) {
            return Err(Error::setting(
                "lr_num_cycles",
                format!("{} is not a number of cycles", self.cycles),
            ));
        }
        if self.kind == ScheduleKind::Sine && self.warmup == 0 {
            return Err(Error::setting(
                "lr_warmup_steps",
                "the sine schedule swings once in twice these steps",
            )
            .hint("set lr_warmup_steps to half the period, or choose another lr_scheduler"));
        }
        Ok(())
    }

    /// The rate of optimizer step `step`, from 0; with a warm-up that of step 0 is 0.
    pub fn at(&self, step: u64) -> f64 {
        match self.kind {
            ScheduleKind::Constant => self.base,
            ScheduleKind::Sine => self.wave((self.phase(self.warmup, step)).sin()),
            ScheduleKind::CosineWave => {
                let half_period = if self.warmup == 0 { DEFAULT_HALF_PERIOD } else { self.warmup };
                self.wave(self.phase(half_period, step).cos())
            }
            _ if step < self.warmup => self.base * (step as f64 / self.warmup as f64),
            ScheduleKind::ConstantWithWarmup => self.base,
            ScheduleKind::Linear => self.base * (1.0 - self.progress(step)),
            ScheduleKind::Cosine => self.base * half_cosine(self.progress(step)),
            ScheduleKind::CosineWithRestarts => self.base * self.restarted(self.progress(step)),
            ScheduleKind::Polynomial => {
                (self.base - self.end) * (1.0 - self.progress(step)).powf(self.power) + self.end
            }
        }
    }

    /// Share of the steps after warm-up that are done; 1 from the last step on.
    fn progress(&self, step: u64) -> f64 {
        let decay_steps = self.total.saturating_sub(self.warmup).max(1);
        ((step - self.warmup) as f64 / decay_steps as f64).min(1.0)
    }

    fn restarted(&self, progress: f64) -> f64 {
        if progress >= 1.0 { 0.0 } else { half_cosine((self.cycles * progress) % 1.0) }
    }

    fn phase(&self, half_period: u64, step: u64) -> f64 {
        PI * step as f64 / half_period as f64
    }

    /// The rate for a wave's height in -1..1, rounded down to a multiple of 1e-9 as SimpleTuner does.
    fn wave(&self, height: f64) -> f64 {
        let rate = self.end + (self.base - self.end) * (1.0 + height) / 2.0;
        (rate * 1e9).floor() / 1e9
    }
}

/// From 1 at 0 to 0 at 1.
fn half_cosine(progress: f64) -> f64 {
    0.5 * (1.0 + (PI * progress).cos())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(kind: ScheduleKind) -> LearningRate {
        LearningRate { kind, base: 1.0, warmup: 2, total: 10, end: 0.0, power: 1.0, cycles: 1.0 }
    }

    fn table(kind: LearningRate, steps: u64) -> Vec<f64> {
        (0..=steps).map(|step| kind.at(step)).collect()
    }

    fn assert_near(ours: &[f64], expected: &[f64], tolerance: f64) {
        assert_eq!(ours.len(), expected.len());
        for (step, (ours, expected)) in ours.iter().zip(expected).enumerate() {
            assert!((ours - expected).abs() <= tolerance, "step {step}: {ours} instead of {expected}");
        }
    }

    /// Tables of torch and diffusers at warm-up 2, total 10.
    #[test]
    fn short_runs_follow_the_published_vectors() {
        let cosine = [0.0, 0.5, 1.0, 0.96194, 0.853553, 0.691342, 0.5, 0.308658, 0.146447, 0.03806, 0.0];
        assert_near(&table(rate(ScheduleKind::Cosine), 10), &cosine, 5e-7);
        let restarts = LearningRate { cycles: 2.0, ..rate(ScheduleKind::CosineWithRestarts) };
        let expected = [0.0, 0.5, 1.0, 0.853553, 0.5, 0.146447, 1.0, 0.853553, 0.5, 0.146447, 0.0];
        assert_near(&table(restarts, 10), &expected, 5e-7);
    }

    /// Rates that SimpleTuner's `cosine` gives at 1.5e-3, 2400 warm-up steps and lr_end 4e-7.
    #[test]
    fn the_cosine_wave_swings_without_warmup() {
        let wave = LearningRate {
            base: 1.5e-3,
            warmup: 2400,
            total: 24_000,
            end: 4e-7,
            ..rate(ScheduleKind::CosineWave)
        };
        for (step, expected) in
            [(0, 1.5e-3), (1200, 7.502e-4), (2400, 4e-7), (4800, 1.5e-3), (24_000, 1.5e-3)]
        {
            assert!((wave.at(step) - expected).abs() <= 1.01e-9, "step {step}: {}", wave.at(step));
        }
        let without = LearningRate { warmup: 0, ..wave };
        assert!((without.at(1000) - 4e-7).abs() <= 1.01e-9);
        let multiple = wave.at(777) * 1e9;
        assert!((multiple - multiple.round()).abs() < 1e-6);
    }

    #[test]
    fn the_sine_starts_in_the_middle_and_needs_a_period() {
        let sine = LearningRate { base: 1e-3, warmup: 100, ..rate(ScheduleKind::Sine) };
        for (step, expected) in [(0, 5e-4), (50, 1e-3), (100, 5e-4), (150, 0.0), (200, 5e-4)] {
            assert!((sine.at(step) - expected).abs() <= 1.01e-9, "step {step}: {}", sine.at(step));
        }
        assert!(sine.check().is_ok());
        let error = LearningRate { warmup: 0, ..sine }.check().unwrap_err();
        assert!(error.place.contains("lr_warmup_steps"));
    }

    #[test]
    fn rates_that_are_no_numbers_are_refused_by_name() {
        let good = rate(ScheduleKind::Cosine);
        for (bad, key) in [
            (LearningRate { base: f64::NAN, ..good }, "learning_rate"),
            (LearningRate { base: -1.0, ..good }, "learning_rate"),
            (LearningRate { end: f64::INFINITY, ..good }, "lr_end"),
            (LearningRate { power: -0.5, ..good }, "lr_power"),
            (LearningRate { cycles: f64::NAN, ..good }, "lr_num_cycles"),
        ] {
            assert!(bad.check().unwrap_err().place.contains(key));
        }
    }

    #[test]
    fn odd_lengths_have_finite_rates() {
        use ScheduleKind::*;
        for kind in [ConstantWithWarmup, Linear, Cosine, CosineWithRestarts, Polynomial, CosineWave] {
            for (warmup, total) in [(0, 0), (0, 1), (5, 5), (9, 3)] {
                let odd = LearningRate { warmup, total, ..rate(kind) };
                assert!((0..12).all(|step| (0.0..=1.0).contains(&odd.at(step))));
            }
        }
    }
}
