//! Watches a run for collapse: a held-out loss that has turned, and gradients that explode.
//!
//! The guard sees every step and every evaluation once, in order, and what it says is a function of them alone, so a
//! resumed run replays what is on record and goes on as if it had never stopped.

use std::collections::VecDeque;

/// When the guard speaks.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GuardLimits {
    /// Share by which the held-out loss must lie above its lowest value.
    pub rise: f64,
    /// For how many evaluations in a row.
    pub patience: usize,
    /// How many times the usual gradient norm is too much.
    pub gradient_factor: f64,
}

/// Steps in a row whose gradients must be too long.
const EXPLODING_STEPS: usize = 5;
/// Steps whose median gradient norm is the usual one.
const USUAL_STEPS: usize = 100;
/// Steps without which nothing is usual yet.
const FEWEST_STEPS: usize = 20;

/// What the guard noticed.
#[derive(Debug, Clone, PartialEq)]
pub enum Alarm {
    /// The held-out loss has been above its lowest value for a while.
    HeldOutRises {
        /// Step and value of the lowest held-out loss.
        best: (u64, f64),
        /// The held-out loss now.
        now: f64,
        /// For how many evaluations it has been too high.
        evaluations: usize,
    },
    /// Gradients have been far longer than usual while the loss was above the usual.
    GradientsExplode {
        /// The first of these steps.
        since: u64,
        /// The norm now.
        norm: f64,
        /// The usual norm.
        usual: f64,
    },
    /// A loss or a gradient is not a finite number.
    NotFinite {
        /// The step.
        since: u64,
    },
}

impl Alarm {
    /// The last step that was in order.
    pub fn good_until(&self) -> u64 {
        match self {
            Self::HeldOutRises { best, .. } => best.0,
            Self::GradientsExplode { since, .. } | Self::NotFinite { since } => since.saturating_sub(1),
        }
    }

    /// What happened, in a sentence without a stop.
    pub fn text(&self) -> String {
        match self {
            Self::HeldOutRises { best: (step, lowest), now, evaluations } => format!(
                "the held-out loss is {now:.4}, {:.0} % above its lowest {lowest:.4} of step {step}, and has been too \
                 high in {evaluations} evaluations in a row",
                (now / lowest - 1.0) * 100.0
            ),
            Self::GradientsExplode { since, norm, usual } => format!(
                "the gradient norm is {norm:.3}, {:.0} times the usual {usual:.3}, and has been too high since step \
                 {since} while the loss is above the usual",
                norm / usual
            ),
            Self::NotFinite { since } => {
                format!("the loss or the gradient of step {since} is not a finite number")
            }
        }
    }
}

/// See the module's documentation.
#[derive(Debug, Clone)]
pub struct Guard {
    limits: GuardLimits,
    /// Step and value of the lowest held-out loss.
    best: Option<(u64, f64)>,
    /// Evaluations in a row whose loss is too high.
    high_evaluations: usize,
    /// Losses and gradient norms of the latest steps that were in order.
    usual: VecDeque<(f64, f64)>,
    /// Losses of the latest steps in a row whose gradients are too long.
    exploding: Vec<f64>,
}

impl Guard {
    /// A guard that has seen nothing.
    pub fn new(limits: GuardLimits) -> Self {
        let (usual, exploding) = (VecDeque::new(), Vec::new());
        Self { limits, best: None, high_evaluations: 0, usual, exploding }
    }

    /// Step and value of the lowest held-out loss.
    pub fn best(&self) -> Option<(u64, f64)> {
        self.best
    }

    /// Sees a finished step; each time that something goes wrong is told once.
    pub fn step(&mut self, step: u64, loss: f64, norm: f64) -> Option<Alarm> {
        let usual_norm = median(self.usual.iter().map(|(_, norm)| *norm));
        let is_usual = self.usual.len() >= FEWEST_STEPS;
        if !is_usual || norm <= self.limits.gradient_factor * usual_norm {
            self.exploding.clear();
            self.usual.push_back((loss, norm));
            if self.usual.len() > USUAL_STEPS {
                self.usual.pop_front();
            }
            return None;
        }
        self.exploding.push(loss);
        let usual_loss = median(self.usual.iter().map(|(loss, _)| *loss));
        let mean = self.exploding.iter().sum::<f64>() / self.exploding.len() as f64;
        (self.exploding.len() == EXPLODING_STEPS && mean > usual_loss).then(|| Alarm::GradientsExplode {
            since: step + 1 - EXPLODING_STEPS as u64,
            norm,
            usual: usual_norm,
        })
    }

    /// Sees an evaluation after `step`; each time that the loss turns is told once.
    pub fn evaluation(&mut self, step: u64, loss: f64) -> Option<Alarm> {
        let best = match self.best {
            Some(best) if best.1 <= loss => best,
            // A loss that is no number is above every other.
            Some(best) if !loss.is_finite() => best,
            _ => {
                self.best = Some((step, loss));
                self.high_evaluations = 0;
                return None;
            }
        };
        let too_high = !loss.is_finite() || loss > best.1 * (1.0 + self.limits.rise);
        self.high_evaluations = if too_high { self.high_evaluations + 1 } else { 0 };
        (self.high_evaluations == self.limits.patience).then_some(Alarm::HeldOutRises {
            best,
            now: loss,
            evaluations: self.high_evaluations,
        })
    }
}

/// The middle value; 0 of none.
fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut sorted: Vec<f64> = values.collect();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: GuardLimits = GuardLimits { rise: 0.05, patience: 3, gradient_factor: 10.0 };

    /// The evaluations, by number, at which the guard speaks.
    fn alarms(losses: &[f64]) -> Vec<usize> {
        let mut guard = Guard::new(LIMITS);
        let speaks = |(index, &loss): (usize, &f64)| guard.evaluation(index as u64 * 10, loss).map(|_| index);
        losses.iter().enumerate().filter_map(speaks).collect()
    }

    #[test]
    fn a_held_out_loss_that_turns_is_told_once_after_some_patience() {
        assert!(alarms(&[1.0, 0.9, 0.8, 0.82, 0.81, 0.79, 0.8]).is_empty());
        assert_eq!(alarms(&[1.0, 0.8, 0.85, 0.86, 0.87, 0.9, 0.95]), [4]);
        assert!(alarms(&[1.0, 0.8, 0.85, 0.86, 0.8, 0.85, 0.86]).is_empty());
        assert_eq!(alarms(&[0.8, 1.0, 1.0, 1.0, 0.7, 0.9, 0.9, 0.9]), [3, 7]);
        assert_eq!(alarms(&[0.8, f64::NAN, f64::NAN, f64::INFINITY]), [3]);
    }

    #[test]
    fn the_alarm_names_the_best_step() {
        let mut guard = Guard::new(LIMITS);
        let losses = [1.0, 0.5, 0.6, 0.6, 0.75];
        let spoken: Vec<_> = losses
            .iter()
            .enumerate()
            .filter_map(|(i, &loss)| guard.evaluation(i as u64 * 100, loss))
            .collect();
        assert_eq!(spoken, [Alarm::HeldOutRises { best: (100, 0.5), now: 0.75, evaluations: 3 }]);
        assert_eq!((spoken[0].good_until(), guard.best()), (100, Some((100, 0.5))));
        assert!(
            spoken[0].text().contains("50 % above its lowest 0.5000 of step 100"),
            "{}",
            spoken[0].text()
        );
    }

    /// Sees steps of (loss, norm); gives the steps at which the guard speaks.
    fn exploding(steps: impl IntoIterator<Item = (f64, f64)>) -> Vec<u64> {
        let mut guard = Guard::new(LIMITS);
        let speaks = |(index, (loss, norm)): (usize, (f64, f64))| guard.step(index as u64 + 1, loss, norm);
        steps.into_iter().enumerate().filter_map(speaks).map(|alarm| alarm.good_until()).collect()
    }

    #[test]
    fn gradients_that_stay_far_too_long_are_an_explosion() {
        let usual = || std::iter::repeat_n((0.5, 0.2), 50);
        assert_eq!(exploding(usual().chain(std::iter::repeat_n((0.9, 3.0), 20))), [50]);
        assert!(exploding(usual().chain(std::iter::repeat_n((0.4, 3.0), 20))).is_empty(), "the loss falls");
        assert!(exploding(usual().chain(std::iter::repeat_n((0.9, 1.9), 20))).is_empty(), "not ten times");
        let single = usual().chain([(2.0, 50.0)]).chain(usual());
        assert!(exploding(single).is_empty(), "one step is no explosion");
        assert!(exploding(std::iter::repeat_n((0.5, 0.2), 5).chain([(9.0, 9.0); 9])).is_empty(), "too early");
    }
}
