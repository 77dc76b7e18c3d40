//! A forecast as a text for people, in groups, for a terminal of 80 columns.

use super::{curve, steps, terminal};
use crate::run::Opened;
use crate::run::forecast::{Alternative, CaptionReport, DiskReport, Forecast, MemoryReport};
use crate::run::pace::{Measured, Pace};
use crate::settings::Remark;

/// Everything that a plan says.
pub fn text(opened: &Opened, forecast: &Forecast, measured: &Measured, told: &[Remark]) -> String {
    let mut data = vec![format!("model        {}", forecast.model)];
    data.extend(steps::table(opened.schedule.steps()));
    data.extend(steps::views(&opened.dataset));
    let trained = vec![
        format!(
            "adapters     {} layers, {} trainable parameters",
            forecast.adapted_layers, forecast.trainable_parameters
        ),
        captions(&forecast.captions),
    ];
    let memory = [memory(&forecast.memory), alternatives(&forecast.alternatives, &forecast.memory)].concat();
    let rate = curve::learning_rate(&forecast.learning_rate);
    let mut groups = vec![data, trained, memory, disk(&forecast.disk), rate, vec![time(measured)]];
    if !told.is_empty() {
        groups.push(vec![format!("remarks\n{}", terminal::remarks(told))]);
    }
    groups.into_iter().map(|group| group.join("\n")).collect::<Vec<_>>().join("\n\n")
}

fn memory(memory: &MemoryReport) -> Vec<String> {
    let plan = &memory.plan;
    let parts = [
        ("weights", plan.weights),
        ("adapters", plan.adapters),
        ("gradients", plan.gradients),
        ("optimizer", plan.optimizer),
        ("moving average", plan.average),
        ("step state", plan.step_state),
        ("arena", plan.arena),
        ("  activations at most", plan.activations),
        ("  workspace at most", plan.workspace),
        ("  validation pictures", plan.drawing_arena),
        ("  encoding captions", plan.encoding_arena),
        ("  held-out pictures", plan.evaluation_arena),
        ("training peak", memory.training_peak),
        ("VAE peak", memory.vae_peak),
        ("text encoder peak", memory.text_encoder_peak),
    ];
    let head = format!("memory       recompute {}", plan.recompute.name());
    let parts = parts.iter().filter(|(_, bytes)| *bytes > 0);
    let parts = parts.map(|(name, bytes)| format!("  {name:<24}{}", size(*bytes as u64)));
    [head].into_iter().chain(parts).collect()
}

fn alternatives(alternatives: &[Alternative], memory: &MemoryReport) -> Vec<String> {
    let line = |other: &Alternative| {
        let fits = match (memory.limit, other.fits) {
            (None, _) => "",
            (Some(_), true) => "  fits",
            (Some(_), false) => "  does not fit",
        };
        let settings = format!("train_batch_size={} recompute={}", other.train_batch_size, other.recompute);
        format!("{settings:<41} needs {}{fits}", size(other.training_peak as u64))
    };
    alternatives.iter().map(line).collect()
}

fn disk(disk: &DiskReport) -> Vec<String> {
    vec![
        "disk".to_owned(),
        format!("  {:<24}{}", "caches", size(disk.caches)),
        format!("  {:<24}{}", "checkpoints", size(disk.checkpoints)),
    ]
}

/// What is encoded, and when.
fn captions(captions: &CaptionReport) -> String {
    let mut all = format!("captions     {} encoded before training", captions.before_training);
    if captions.an_epoch_at_most > 0 {
        let most = captions.an_epoch_at_most;
        all += &match captions.first_epoch {
            Some(texts) => format!(", {texts} more before the first epoch, up to {most} before each"),
            None => format!(", up to {most} more before each epoch"),
        };
    }
    if captions.an_epoch_at_most > captions.at_a_time {
        all += &format!(", {} at a time", captions.at_a_time);
    }
    all
}

/// Bytes for people.
pub fn size(bytes: u64) -> String {
    let bytes = bytes as f64;
    match bytes {
        b if b >= 1e9 => format!("{:8.2} GiB", b / (1u64 << 30) as f64),
        b if b >= 1e6 => format!("{:8.2} MiB", b / f64::from(1 << 20)),
        b => format!("{:8.2} KiB", b / 1024.0),
    }
}

/// How long training takes, as far as anybody has measured it.
fn time(measured: &Measured) -> String {
    match measured {
        Measured::Pace(Pace { device, steps, seconds_per_step, seconds }) => format!(
            "time         {} of training, at {seconds_per_step:.3} s a step\n             \
             (the mean of {steps} steps on {device})",
            duration(*seconds)
        ),
        Measured::OfOtherSteps(keys) => format!(
            "time         no measured rate for these settings: the run there differs in\n             {}",
            keys.join(", ")
        ),
        Measured::Nothing => {
            "time         no measured rate yet; training leaves one in its output folder,\n             \
                              and --measured DIR takes that of another run"
                .to_owned()
        }
    }
}

/// A time in its two largest units.
fn duration(seconds: f64) -> String {
    match seconds.round() as u64 {
        s @ ..60 => format!("{s} s"),
        s @ 60..3600 => format!("{} min {} s", s / 60, s % 60),
        s @ 3600..86_400 => format!("{} h {} min", s / 3600, s % 3600 / 60),
        s => format!("{} days {} h", s / 86_400, s % 86_400 / 3600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_in_their_two_largest_units() {
        let told = [0.4, 59.0, 61.0, 3600.0, 12_000.0, 200_000.0].map(duration);
        assert_eq!(told, ["0 s", "59 s", "1 min 1 s", "1 h 0 min", "3 h 20 min", "2 days 7 h"]);
    }

    #[test]
    fn sizes_are_told_in_a_unit_that_suits_them() {
        let told = [512, 3 << 20, 24 << 30].map(|bytes| size(bytes).trim().to_owned());
        assert_eq!(told, ["0.50 KiB", "3.00 MiB", "24.00 GiB"]);
    }
}
