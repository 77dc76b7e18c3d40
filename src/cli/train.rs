//! `sargent train`: a run as a settings file says.

use super::failure::Failure;
use super::overrides::{self, Override};
use super::{device, terminal};
use crate::device::Choice;
use crate::error::{Error, ErrorKind};
use crate::settings::{self, RunSettings};
use std::path::PathBuf;

/// Train a LoRA as a settings file says
///
/// The settings file is a JSON object of the settings below, under SimpleTuner's names; a minimal one:
///
/// {
///   "pretrained_model_name_or_path": "models/stable-diffusion-3.5-medium",
///   "data_backend_config": "multidatabackend.json",
///   "output_dir": "output",
///   "max_train_steps": 1000
/// }
///
/// multidatabackend.json names the pictures, each with its caption in a .txt file beside it:
///
/// [ { "id": "mine", "instance_data_dir": "pictures" } ]
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment, after_long_help = explanation())]
pub struct TrainArgs {
    /// The settings file
    pub config: PathBuf,

    /// A setting that wins over the file; may be given many times, an empty value takes the default
    #[arg(long, value_name = "KEY=VALUE", value_parser = overrides::parse)]
    pub set: Vec<Override>,
}

fn explanation() -> String {
    format!("{EXPLANATION}\nSettings:\n\n{}", settings::help().trim_end())
}

const EXPLANATION: &str = "\
Examples:
  sargent train config.json
  sargent train config.json --set max_train_steps=2000 --set learning_rate=2e-4
  sargent train config.json --set resume_from_checkpoint=latest     go on where the last run stopped
  sargent train config.json --set overwrite=true                    begin afresh in the same folder

The output folder then holds pytorch_lora_weights.safetensors, checkpoint-N/, validation/,
metrics.jsonl, tensorboard/, plots, and the settings as used. Ctrl-C writes a checkpoint and
stops; a second one stops at once.
";

/// Trains.
pub fn run(args: &TrainArgs, device: Option<Choice>) -> Result<(), Failure> {
    let settings = RunSettings::load(&args.config, &args.set)?;
    let data = settings.data_backends()?;
    terminal::ignored_settings(settings.ignored.iter().chain(&data.ignored));
    let _device = device::announced(device, settings.device)?;
    Err(Error::new(ErrorKind::Training, "", "this build cannot train").into())
}
