//! What the learning rate really does: SimpleTuner's waves beside the descents that the names promise.

use super::words::{counted, grouped, rate};
use super::{Facts, Remark, note, warning};
use crate::settings::choices::LrScheduler;
use crate::settings::compat::Compat;
use crate::settings::source::Dialect;
use serde_json::Value;

impl Facts<'_> {
    /// The schedule, and a warm-up that is too long.
    pub fn learning_rate(&self, all: &mut Vec<Remark>) {
        let Some(given) = self.given("lr_scheduler").and_then(Value::as_str) else { return };
        if self.is_from(Dialect::Kohya) {
            return;
        }
        let compat = self.settings.compat.version();
        let half = self.settings.lr_warmup_steps;
        match (given, compat) {
            // Who writes for this program means what the name says.
            ("cosine", None) if half > 0 => all.push(match self.is_from(Dialect::SimpleTuner) {
                true => warning("lr_scheduler", self.cosine_here(half)),
                false => note("lr_scheduler", self.cosine_here(half)),
            }),
            ("cosine", None) if self.is_from(Dialect::SimpleTuner) => all.push(warning(
                "lr_scheduler",
                format!(
                    "`cosine` is here one descent to 0 in {} steps; SimpleTuner refuses it without \
                     lr_warmup_steps, or since 3.0.8 swings every 2000 steps",
                    grouped(self.total_steps)
                ),
            )),
            ("cosine" | "cosine_wave" | "sine", _) if self.is_wave() => {
                all.push(note("lr_scheduler", format!("`{given}` is a wave: {}", self.wave(half))));
            }
            ("cosine_with_restarts", None) if self.is_from(Dialect::SimpleTuner) => all.push(warning(
                "lr_scheduler",
                format!(
                    "`cosine_with_restarts` is here a warm-up of {half} steps and {} descents; in SimpleTuner it \
                     stays at {:e} all the time",
                    self.settings.lr_num_cycles, self.settings.learning_rate
                ),
            )),
            ("cosine_with_restarts", Some(_)) => all.push(warning(
                "lr_scheduler",
                format!(
                    "`cosine_with_restarts` stays at {:e} all the time, as in SimpleTuner",
                    self.settings.learning_rate
                ),
            )),
            ("polynomial", None) if self.is_simpletuners() => self.polynomial(all),
            ("constant", None) if half > 0 && self.is_from(Dialect::SimpleTuner) => all.push(note(
                "lr_scheduler",
                format!(
                    "`constant` with lr_warmup_steps {half} warms up here, as in SimpleTuner since 4.0; before, it \
                     did not"
                ),
            )),
            _ => {}
        }
        if half > self.total_steps && !self.is_wave() {
            all.push(warning(
                "lr_warmup_steps",
                format!(
                    "the warm-up of {} steps is longer than the run of {}: the learning rate never gets to {:e}",
                    grouped(half),
                    grouped(self.total_steps),
                    self.settings.learning_rate
                ),
            ));
        }
    }

    fn is_wave(&self) -> bool {
        matches!(self.settings.lr_scheduler, LrScheduler::CosineWave | LrScheduler::Sine)
    }

    fn cosine_here(&self, warmup: u64) -> String {
        format!(
            "`cosine` is here a warm-up of {} steps and one descent to 0 at step {}; in SimpleTuner it is a wave \
             without warm-up: {}. `cosine_wave` is that",
            grouped(warmup),
            grouped(self.total_steps),
            self.wave(warmup)
        )
    }

    /// The wave in words: half its period, how often it swings, where it ends.
    fn wave(&self, half: u64) -> String {
        use std::f64::consts::PI;
        let half = half.max(1);
        let (low, high) = (self.lowest_rate(), self.settings.learning_rate);
        let phase = PI * self.total_steps as f64 / half as f64;
        let is_sine = self.settings.lr_scheduler == LrScheduler::Sine;
        let height = if is_sine { phase.sin() } else { phase.cos() };
        let end = low + (high - low) * (1.0 + height) / 2.0;
        let swings = self.total_steps as f64 / (2 * half) as f64;
        let swings = if swings.fract() == 0.0 {
            counted(swings as u64, "swing")
        } else {
            format!("{swings:.1} swings")
        };
        format!(
            "half a period is lr_warmup_steps={}, {swings} in {} steps between {high:e} and {low:e}, ending at {}",
            grouped(half),
            grouped(self.total_steps),
            rate(end)
        )
    }

    /// The lowest rate of the wave: SimpleTuner's default where none was given.
    fn lowest_rate(&self) -> f64 {
        match self.settings.compat {
            Compat::None if !self.is_wave() => self.given_number("lr_end").unwrap_or(4e-7),
            _ => self.settings.lr_end,
        }
    }

    fn polynomial(&self, all: &mut Vec<Remark>) {
        let unset = |name: &str| self.given(name).is_none();
        if unset("lr_power") || unset("lr_end") {
            let s = self.settings;
            all.push(note(
                "lr_scheduler",
                format!(
                    "`polynomial` goes here to lr_end {:e} with lr_power {}; SimpleTuner's defaults are 4e-7 and 0.8",
                    s.lr_end, s.lr_power
                ),
            ));
        }
    }
}
