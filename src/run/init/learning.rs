//! How much there is to learn from so many pictures: rank, rate, length, and when to look at it.

use super::{Reason, reason};
use crate::models::mmdit::MmditConfig;
use serde_json::{Value, json};

/// The usual rate for adapters whose alpha is their rank.
const RATE: f64 = 1e-4;
/// The share of the steps in which the rate rises, and the most steps for it.
const WARMUP: (u64, u64) = (20, 100);
/// About how many checkpoints a run leaves.
const CHECKPOINTS: u64 = 10;
/// From so many pictures on, some are held out.
const ENOUGH_TO_HOLD_OUT: usize = 40;
/// The share that is held out, and the most pictures.
const HELD_OUT: (f64, f64) = (0.05, 32.0);
/// A picture of which twenty alike are shown is to be seen about so often.
const VIEWS_OF_TWENTY: f64 = 100.0;
/// Steps that a run has at least.
const FEWEST_STEPS: u64 = 500;

/// See the module's documentation.
#[derive(Debug, Clone, PartialEq)]
pub struct Learning {
    pictures: usize,
    /// Pictures of an optimizer step.
    pub batch: usize,
    rank: usize,
    steps: u64,
    steps_are_given: bool,
    interval: u64,
    held_out: f64,
}

impl Learning {
    /// From `pictures`, in `steps` if they are given.
    pub fn from_pictures(pictures: usize, steps: Option<u64>) -> Self {
        let batch = match pictures {
            ..8 => 1,
            8..16 => 2,
            _ => 4,
        };
        let rank = match pictures {
            ..30 => 16,
            30..200 => 32,
            _ => 64,
        };
        let held_out = if pictures < ENOUGH_TO_HOLD_OUT {
            0.0
        } else {
            let share = HELD_OUT.0.min(HELD_OUT.1 / pictures as f64);
            (share * 1e4).round() / 1e4
        };
        let all_steps = steps.unwrap_or_else(|| usual_steps(pictures, batch));
        Self {
            pictures,
            batch,
            rank,
            steps: all_steps,
            steps_are_given: steps.is_some(),
            interval: interval(all_steps),
            held_out,
        }
    }

    /// What follows for the settings.
    pub fn settings(&self) -> Vec<(&'static str, Value)> {
        vec![
            ("max_train_steps", json!(self.steps)),
            ("learning_rate", json!(RATE)),
            ("lr_scheduler", json!("linear")),
            ("lr_warmup_steps", json!(self.warmup())),
            ("lora_rank", json!(self.rank)),
            ("lora_alpha", json!(self.rank)),
            ("checkpointing_steps", json!(self.interval)),
            ("checkpoints_total_limit", json!(CHECKPOINTS)),
            ("validation_steps", json!(self.interval)),
            ("eval_share", json!(self.held_out)),
            ("guard", json!("warn")),
        ]
    }

    /// Why.
    pub fn reasons(&self) -> Vec<Reason> {
        let pictures = self.pictures;
        let views = self.steps as f64 * self.batch as f64 / pictures as f64;
        let asked = if self.steps_are_given { "as asked for: " } else { "" };
        let held_out = match (self.held_out * pictures as f64).round() {
            0.0 => "so few pictures are all needed for training".to_owned(),
            held_out => format!("{held_out} pictures tell learning from memorising"),
        };
        vec![
            reason(
                "max_train_steps",
                self.steps,
                format!("{asked}each of {pictures} pictures is seen {views:.0} times"),
            ),
            reason("lora_rank", self.rank, format!("for {pictures} pictures; a higher one memorises sooner")),
            reason("lora_alpha", self.rank, "as the rank, so adapters count as they are"),
            reason("learning_rate", rate(RATE), "usual for adapters with alpha = rank"),
            reason(
                "lr_scheduler",
                "linear",
                format!("rises for {} steps, then falls evenly to 0", self.warmup()),
            ),
            reason(
                "checkpointing_steps",
                self.interval,
                format!("{} checkpoints to choose from", self.steps.div_ceil(self.interval)),
            ),
            reason("validation_steps", self.interval, "pictures of every checkpoint"),
            reason("eval_share", self.held_out, held_out),
            reason("guard", "warn", "says so when it memorises or gradients explode"),
        ]
    }

    fn warmup(&self) -> u64 {
        (self.steps / WARMUP.0).min(WARMUP.1)
    }
}

/// A rate as people write it.
fn rate(rate: f64) -> String {
    format!("{rate:e}")
}

/// Few pictures are seen often, many seldom: the sight of each falls with the root of their number.
fn usual_steps(pictures: usize, batch: usize) -> u64 {
    let views = (VIEWS_OF_TWENTY * (20.0 / pictures.max(1) as f64).sqrt()).max(10.0);
    let steps = views * pictures as f64 / batch as f64;
    ((steps / 100.0).ceil() as u64 * 100).max(FEWEST_STEPS)
}

/// A round number of steps, about a tenth of all.
fn interval(steps: u64) -> u64 {
    let tenth = steps.div_ceil(CHECKPOINTS).max(1);
    let magnitude = 10u64.pow(tenth.ilog10());
    let round = [1, 2, 5, 10].map(|factor| factor * magnitude);
    round.into_iter().find(|&round| round >= tenth).unwrap_or(tenth)
}

/// The blocks that SD3.5 Medium draws better without, by Stability's own examples.
pub fn skipped_blocks(config: &MmditConfig) -> (Vec<(&'static str, Value)>, Option<Reason>) {
    const KEY: &str = "validation_guidance_skip_layers";
    if config.release() != "SD3.5 Medium" {
        return (Vec::new(), None);
    }
    (
        vec![(KEY, json!([7, 8, 9]))],
        Some(reason(KEY, "7,8,9", "Medium's anatomy gains by skip-layer guidance")),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pictures: usize) -> Learning {
        Learning::from_pictures(pictures, None)
    }

    #[test]
    fn more_pictures_mean_more_to_show_and_fewer_views_of_each() {
        let mut before = of(1);
        for pictures in [5, 10, 20, 50, 100, 500, 1000, 10_000, 100_000] {
            let now = of(pictures);
            let shown = |l: &Learning| l.steps * l.batch as u64;
            assert!(shown(&now) >= shown(&before) && now.rank >= before.rank && now.batch >= before.batch);
            let views = |l: &Learning| l.steps * l.batch as u64 / l.pictures as u64;
            assert!(views(&now) <= views(&before) && views(&now) >= 10, "{now:?}");
            before = now;
        }
    }

    #[test]
    fn steps_that_are_asked_for_are_taken() {
        let asked = Learning::from_pictures(20, Some(7));
        assert_eq!((asked.steps, asked.interval, asked.warmup()), (7, 1, 0));
        assert!(asked.reasons()[0].why.starts_with("as asked for"));
    }

    #[test]
    fn intervals_are_round() {
        let intervals = [1, 10, 11, 99, 500, 1300, 2500, 24_000].map(interval);
        assert_eq!(intervals, [1, 1, 2, 10, 50, 200, 500, 5000]);
    }

    #[test]
    fn only_where_there_are_enough_some_are_held_out() {
        assert_eq!([39, 40, 640, 3200].map(|pictures| of(pictures).held_out), [0.0, 0.05, 0.05, 0.01]);
    }
}
