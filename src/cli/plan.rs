//! `sargent plan`: what a run would do and need, told before it starts and without its device.

use super::failure::Failure;
use super::overrides::{self, Override};
use super::{device, terminal};
use crate::device::Choice;
use crate::error::{Error, ErrorKind};
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

    /// Print one JSON object, for programs
    #[arg(long)]
    pub json: bool,
}

const EXAMPLES: &str = "\
Examples:
  sargent plan config.json
  sargent plan config.json --device cuda:24GiB      what would fit a card of that size
  sargent plan config.json --json | jq .memory";

/// Plans.
pub fn run(args: &PlanArgs, device: Option<Choice>) -> Result<(), Failure> {
    let settings = RunSettings::load(&args.config, &args.set)?;
    let data = settings.data_backends()?;
    terminal::ignored_settings(settings.ignored.iter().chain(&data.ignored));
    let _wanted = device::wanted(device, settings.device);
    Err(Error::new(ErrorKind::Training, "", "this build cannot plan").into())
}
