//! `sargent plan`: what a run would do and need, told before it starts and without its device.

use super::failure::Failure;
use super::overrides::{self, Override};
use super::{device, forecast as told, terminal};
use crate::device::cpu::Cpu;
use crate::device::cuda::Architecture;
use crate::device::{Choice, Limits};
use crate::error::{Error, ErrorKind};
use crate::report::plot;
use crate::run::Opened;
use crate::run::forecast::{self, Forecast};
use crate::run::pace::{self, Measured};
use crate::settings::{self, Remark, RunSettings};
use std::path::PathBuf;

/// Say what a training run would do and need, without starting it
///
/// Pictures per bucket, batches, steps per epoch and in total, trainable parameters, memory by purpose, disk for
/// caches and checkpoints, the course of the learning rate, what the settings mean, and the time where it was measured. No weight is read, and the device need not be there; with the size of a card, settings
/// that would fit are named.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct PlanArgs {
    /// The settings file, or its folder
    pub config: PathBuf,

    /// A setting that wins over the file; may be given many times, an empty value takes the default
    #[arg(long, value_name = "KEY=VALUE", value_parser = overrides::parse)]
    pub set: Vec<Override>,

    /// Do what SimpleTuner really did where its names say something else: `simpletuner`, or of a version,
    /// `simpletuner=1.1.4`; its defaults hold too
    #[arg(long, value_name = "WHOSE")]
    pub compat: Option<String>,

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

/// Points of the picture of the learning rate.
const CURVE_POINTS: u64 = 1024;

/// What a program is told.
#[derive(serde::Serialize)]
struct Report<'a> {
    #[serde(flatten)]
    forecast: &'a Forecast,
    remarks: &'a [Remark],
}

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
    let settings =
        RunSettings::load(&args.config, &overrides::with_compat(&args.set, args.compat.as_deref()))?;
    let data = settings.data_backends()?;
    terminal::ignored_settings(settings.ignored.iter().chain(&data.ignored));
    let limits = limits(device::wanted(device, settings.device));
    let opened = Opened::open(settings, data, false)?;
    opened.dataset.notes.iter().for_each(terminal::note);
    opened.dataset.broken.iter().for_each(|error| terminal::note(format_args!("left out: {error}")));
    let limit = limits.cuda.map(|_| limits.memory).filter(|&memory| memory < u64::MAX);
    let mut forecast = forecast::forecast(&opened, &limits, limit)?;
    let measured = pace::measured(&opened, args.measured.as_ref().unwrap_or(&opened.settings.output_dir));
    if let Measured::Pace(pace) = &measured {
        forecast.time = Some(pace.clone());
    }
    if let Some(path) = &args.lr_curve {
        plot::write_learning_rate(path, &forecast::learning_rate(&opened, CURVE_POINTS))?;
    }
    let remarks = settings::remarks(&opened.settings, &opened.backends, opened.schedule.total_steps() as u64);
    if args.json {
        let report = Report { forecast: &forecast, remarks: &remarks };
        let json = serde_json::to_string_pretty(&report)
            .map_err(|e| Error::new(ErrorKind::Usage, "--json", e.to_string()))?;
        return terminal::say(json);
    }
    terminal::say(told::text(&opened, &forecast, &measured, &remarks))
}
