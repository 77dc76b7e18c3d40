//! The curves of a run, thinned to what a screen can show.

use super::super::metrics::StepMetrics;
use serde::Serialize;

/// Points of a curve at most.
const MOST_POINTS: usize = 2000;

/// One value a point; a value that is no number is null in JSON.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Curves {
    /// The last step of each point.
    pub step: Vec<u64>,
    /// Mean loss.
    pub loss: Vec<f64>,
    /// Mean learning rate.
    pub lr: Vec<f64>,
    /// Mean gradient norm.
    pub grad_norm: Vec<f64>,
}

impl Curves {
    /// The curves of `steps`; a long run has means of equally many steps in a row for points.
    pub fn of(steps: &[StepMetrics]) -> Self {
        let together = steps.len().div_ceil(MOST_POINTS).max(1);
        let mut curves = Self::default();
        for part in steps.chunks(together) {
            let mean = |of: fn(&StepMetrics) -> f64| part.iter().map(of).sum::<f64>() / part.len() as f64;
            curves.step.extend(part.last().map(|step| step.step));
            curves.loss.push(mean(|step| step.loss));
            curves.lr.push(mean(|step| step.lr));
            curves.grad_norm.push(mean(|step| step.grad_norm));
        }
        curves
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(count: u64) -> Vec<StepMetrics> {
        let step = |step| StepMetrics {
            step,
            epoch: 0,
            loss: step as f64,
            lr: 1e-4,
            grad_norm: f64::NAN,
            seconds: 0.1,
            samples: 4,
        };
        (1..=count).map(step).collect()
    }

    #[test]
    fn a_short_run_is_shown_as_it_is() {
        let curves = Curves::of(&steps(3));
        assert_eq!((curves.step, curves.loss), (vec![1, 2, 3], vec![1.0, 2.0, 3.0]));
        assert!(Curves::of(&[]).step.is_empty());
    }

    #[test]
    fn a_long_run_is_thinned_by_means() {
        let curves = Curves::of(&steps(24_000));
        assert_eq!(curves.step.len(), MOST_POINTS);
        assert_eq!((curves.step[0], curves.loss[0]), (12, 6.5));
        assert_eq!(curves.step.last(), Some(&24_000));
        assert!(serde_json::to_string(&curves).unwrap().contains("null"), "NaN is null");
    }
}
