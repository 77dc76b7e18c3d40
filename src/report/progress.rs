//! Progress on stderr: a bar at a terminal, a plain line now and then elsewhere. Stdout stays free for results.

use super::metrics::StepMetrics;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

/// Time between plain lines.
const PLAIN_INTERVAL: Duration = Duration::from_secs(10);

/// The progress of one piece of work, of which the total is known.
#[derive(Debug)]
pub struct Progress {
    label: String,
    already_done: u64,
    total: u64,
    started: Instant,
    last_line: Option<Instant>,
    bar: Option<ProgressBar>,
}

impl Progress {
    /// Starts at `already_done` (0, or the resumed step) of `total`; only the rest counts for the time left.
    pub fn on_stderr(label: &str, already_done: u64, total: u64) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| bar(label, already_done, total));
        Self { label: label.to_owned(), already_done, total, started: Instant::now(), last_line: None, bar }
    }

    /// Says that `done` of the total is done; `message` is what there is to know beside it.
    pub fn update(&mut self, done: u64, message: &str) {
        match &self.bar {
            Some(bar) => {
                bar.set_message(message.to_owned());
                bar.set_position(done);
            }
            None if self.line_is_due(done) => {
                self.last_line = Some(Instant::now());
                say(&plain_line(
                    &self.label,
                    self.already_done,
                    done,
                    self.total,
                    self.started.elapsed(),
                    message,
                ));
            }
            None => {}
        }
    }

    /// [`Progress::update`] after a training step.
    pub fn training_step(&mut self, metrics: &StepMetrics) {
        self.update(metrics.step, &training_message(metrics));
    }

    /// Prints a line without tearing the bar.
    pub fn note(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| say(text)),
            None => say(text),
        }
    }

    /// Leaves the bar as it stands and ends its line.
    pub fn finish(self) {
        if let Some(bar) = self.bar {
            bar.abandon();
        }
    }

    fn line_is_due(&self, done: u64) -> bool {
        done == self.total || self.last_line.is_none_or(|last| last.elapsed() >= PLAIN_INTERVAL)
    }
}

fn bar(label: &str, already_done: u64, total: u64) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
    let template = "{prefix} {bar:24.cyan/blue} {pos}/{len}  {msg}  {eta} left";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.progress_chars("━╸─"));
    }
    bar.set_prefix(label.to_owned());
    bar.set_position(already_done);
    bar.reset_eta();
    bar
}

/// Loss, learning rate, gradient norm and seconds a step.
fn training_message(metrics: &StepMetrics) -> String {
    let StepMetrics { loss, lr, grad_norm, seconds, .. } = metrics;
    format!("loss {loss:.4}  lr {lr:.2e}  grad {grad_norm:.3}  {seconds:.2} s/step")
}

fn plain_line(label: &str, from: u64, done: u64, total: u64, elapsed: Duration, message: &str) -> String {
    let counted = done.saturating_sub(from);
    let left = total.saturating_sub(done);
    let time = if counted == 0 || left == 0 {
        String::new()
    } else {
        format!("  {} left", clock(elapsed.mul_f64(left as f64 / counted as f64)))
    };
    format!("{label} {done}/{total}  {message}{time}")
}

/// `45s`, `3m 20s` or `2h 5m`.
fn clock(time: Duration) -> String {
    match time.as_secs() {
        seconds @ 0..60 => format!("{seconds}s"),
        seconds @ 60..3600 => format!("{}m {}s", seconds / 60, seconds % 60),
        seconds => format!("{}h {}m", seconds / 3600, seconds / 60 % 60),
    }
}

/// A closed stderr is no reason to stop training.
fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_line_tells_the_time_left_from_the_steps_of_this_run() {
        let line = |from, done| plain_line("train", from, done, 1000, Duration::from_secs(30), "loss 0.1");
        assert_eq!(line(0, 100), "train 100/1000  loss 0.1  4m 30s left");
        assert_eq!(line(500, 600), "train 600/1000  loss 0.1  2m 0s left");
        assert_eq!(line(0, 1000), "train 1000/1000  loss 0.1");
        assert_eq!(line(100, 100), "train 100/1000  loss 0.1");
    }

    #[test]
    fn a_training_step_shows_what_matters() {
        let metrics = StepMetrics {
            step: 3,
            epoch: 0,
            loss: 0.12345,
            lr: 1.5e-4,
            grad_norm: 0.5,
            seconds: 0.0612,
            samples: 4,
        };
        assert_eq!(training_message(&metrics), "loss 0.1235  lr 1.50e-4  grad 0.500  0.06 s/step");
    }

    #[test]
    fn times_are_short() {
        let show = |seconds| clock(Duration::from_secs(seconds));
        assert_eq!(
            [show(0), show(59), show(60), show(3599), show(7500)],
            ["0s", "59s", "1m 0s", "59m 59s", "2h 5m"]
        );
    }
}
