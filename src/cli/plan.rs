//! `sargent plan`: what a run would do and need, told before it starts and without its device.

use super::failure::Failure;
use super::overrides::{self, Override};
use super::{curve, device, terminal};
use crate::device::cpu::Cpu;
use crate::device::cuda::Architecture;
use crate::device::{Choice, Limits};
use crate::error::{Error, ErrorKind};
use crate::report::plot;
use crate::run::Opened;
use crate::run::forecast::{self, Forecast};
use crate::run::pace::{self, Measured, Pace};
use crate::settings::RunSettings;
use std::path::PathBuf;

/// Say what a training run would do and need, without starting it
///
/// Pictures per bucket, batches, steps per epoch and in total, trainable parameters, memory by purpose, disk for
/// caches and checkpoints. No weight is read, and the device need not be there; with the size of a card, settings
/// that would fit are named.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct PlanArgs {
    /// The settings file
    pub config: PathBuf,

    /// A setting that wins over the file; may be given many times, an empty value takes the default
    #[arg(long, value_name = "KEY=VALUE", value_parser = overrides::parse)]
    pub set: Vec<Override>,

    /// Draw the learning rate over the steps as a picture
    #[arg(long, value_name = "FILE.png")]
    pub lr_curve: Option<PathBuf>,

    /// The output folder of a run on the card that is meant, whose measured rate tells the time; without it, the
    /// output folder of the settings
    #[arg(long, value_name = "DIR")]
    pub measured: Option<PathBuf>,

    /// Print one JSON object, for programs
    #[arg(long)]
    pub json: bool,
}

const EXAMPLES: &str = "\
Examples:
  sargent plan config.json
  sargent plan config.json --device cuda:24GiB      what would fit a card of that size
  sargent plan config.json --lr-curve rate.png      the course of the learning rate as a picture
  sargent plan config.json --measured earlier/output    with the time, by an earlier run's rate
  sargent plan config.json --json | jq .memory";

/// The card that is planned for where none is there: only its scratch memory depends on what it is.
const USUAL_CARD: Architecture = Architecture { compute: 89, multiprocessors: 128, shared_memory: 99 << 10 };

/// What is planned for; no card is opened.
pub(super) fn limits(choice: Choice) -> Limits {
    match choice {
        Choice::Auto | Choice::Cpu => Cpu::new().limits(),
        Choice::Cuda { memory } => {
            Limits { lanes: 1, memory: memory.unwrap_or(u64::MAX), cuda: Some(USUAL_CARD) }
        }
        Choice::Emulator => Limits { cuda: Some(USUAL_CARD), ..Cpu::new().limits() },
    }
}

/// Plans.
pub fn run(args: &PlanArgs, device: Option<Choice>) -> Result<(), Failure> {
    let settings = RunSettings::load(&args.config, &args.set)?;
    let data = settings.data_backends()?;
    terminal::ignored_settings(settings.ignored.iter().chain(&data.ignored));
    let limits = limits(device::wanted(device, settings.device));
    let opened = Opened::open(settings, data, false)?;
    let limit = limits.cuda.map(|_| limits.memory).filter(|&memory| memory < u64::MAX);
    let mut forecast = forecast::forecast(&opened, &limits, limit)?;
    let output = args.measured.as_ref().unwrap_or(&opened.settings.output_dir);
    let measured = pace::measured(&opened, output);
    if let Measured::Pace(pace) = &measured {
        forecast.time = Some(pace.clone());
    }
    if let Some(path) = &args.lr_curve {
        plot::write_learning_rate(path, &forecast::learning_rate(&opened, CURVE_POINTS))?;
    }
    if args.json {
        let json = serde_json::to_string_pretty(&forecast)
            .map_err(|e| Error::new(ErrorKind::Usage, "--json", e.to_string()))?;
        return terminal::say(json);
    }
    terminal::say(table(&forecast))?;
    terminal::say(curve::learning_rate(&forecast.learning_rate).join("\n"))?;
    terminal::say(time(&measured))
}

/// Points of the picture of the learning rate.
const CURVE_POINTS: u64 = 1024;

/// How long training takes, as far as anybody has measured it.
fn time(measured: &Measured) -> String {
    match measured {
        Measured::Pace(Pace { device, steps, seconds_per_step, seconds }) => format!(
            "time         {} of training, at {seconds_per_step:.3} s a step\n             (the mean of {steps} steps on \
             {device})",
            duration(*seconds)
        ),
        Measured::OfOtherSteps(keys) => format!(
            "time         no measured rate for these settings: the run there differs in\n             {}",
            keys.join(", ")
        ),
        Measured::Nothing => {
            "time         no measured rate yet; training leaves one in its output folder,\n             \
                              which --measured DIR takes from another run"
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

/// The report for people.
fn table(forecast: &Forecast) -> String {
    let mut lines = vec![format!("model        {}", forecast.model)];
    for bucket in &forecast.buckets {
        lines.push(format!(
            "bucket       {}x{}: {} pictures, {} an epoch in {} batches (the last of {})",
            bucket.width,
            bucket.height,
            bucket.pictures,
            bucket.appearances,
            bucket.batches,
            bucket.last_batch
        ));
    }
    lines.push(format!(
        "steps        {} in all, {} an epoch ({} batches)",
        forecast.total_steps, forecast.steps_per_epoch, forecast.batches_per_epoch
    ));
    lines.push(format!(
        "adapters     {} layers, {} trainable parameters",
        forecast.adapted_layers, forecast.trainable_parameters
    ));
    let memory = &forecast.memory;
    let plan = &memory.plan;
    lines.push(format!("memory       recompute {}", plan.recompute.name()));
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
        ("  held-out pictures", plan.evaluation_arena),
        ("training peak", memory.training_peak),
        ("VAE peak", memory.vae_peak),
        ("text encoder peak", memory.text_encoder_peak),
    ];
    lines.extend(parts.iter().map(|(name, bytes)| format!("  {name:<24}{}", size(*bytes as u64))));
    lines.push("disk".to_owned());
    lines.push(format!("  {:<24}{}", "caches", size(forecast.disk.caches)));
    lines.push(format!("  {:<24}{}", "checkpoints", size(forecast.disk.checkpoints)));
    for other in &forecast.alternatives {
        let fits = match (memory.limit, other.fits) {
            (None, _) => "",
            (Some(_), true) => "  fits",
            (Some(_), false) => "  does not fit",
        };
        let settings = format!("train_batch_size={} recompute={}", other.train_batch_size, other.recompute);
        lines.push(format!("{settings:<41} needs {}{fits}", size(other.training_peak as u64)));
    }
    lines.join("\n")
}

/// Bytes for people.
pub(super) fn size(bytes: u64) -> String {
    let bytes = bytes as f64;
    match bytes {
        b if b >= 1e9 => format!("{:8.2} GiB", b / (1u64 << 30) as f64),
        b if b >= 1e6 => format!("{:8.2} MiB", b / f64::from(1 << 20)),
        b => format!("{:8.2} KiB", b / 1024.0),
    }
}
