//! One file a subcommand; the only room that prints.
//!
//! Results go to stdout, everything that is said meanwhile to stderr.

mod captions;
mod curve;
mod demo;
mod device;
mod doctor;
mod export;
mod failure;
mod forecast;
mod init;
mod inspect;
mod licenses;
mod overrides;
mod plan;
mod prepare;
mod readers;
mod report;
mod sample;
mod signals;
mod steps;
mod terminal;
mod train;

use crate::device::Choice;
use clap::Parser;
use failure::Failure;
use std::ffi::OsString;
use std::process::ExitCode;

/// LoRA training for Stable Diffusion 3.5.
#[derive(Debug, Parser)]
#[command(name = "sargent", version, after_long_help = EXAMPLES)]
struct CommandLine {
    /// Where to compute: auto, cpu, cuda or emulator
    ///
    /// `auto` takes the best device that is there and says which. `plan` also takes cuda:24GiB, a card of that
    /// size, on a machine without it. Without this option, the setting `device` decides.
    #[arg(long, global = true, value_name = "DEVICE")]
    device: Option<Choice>,

    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Demo(demo::DemoArgs),
    Init(init::InitArgs),
    Train(train::TrainArgs),
    Sample(sample::SampleArgs),
    Plan(plan::PlanArgs),
    Report(report::ReportArgs),
    Export(export::ExportArgs),
    Inspect(inspect::InspectArgs),
    Captions(captions::CaptionsArgs),
    Doctor(doctor::DoctorArgs),
    Prepare(prepare::PrepareArgs),
    Licenses(licenses::LicensesArgs),
}

const EXAMPLES: &str = "\
Examples:
  sargent demo                                      watch a LoRA being trained, on any machine
  sargent init run --model MODEL --images pictures  settings that fit the pictures and the card
  sargent plan config.json                          pictures, steps, memory and disk of a run
  sargent captions pictures --trigger k4s4          what captions say, and which words an encoder cuts
  sargent train config.json --set lora_rank=32      train, with one setting changed
  sargent sample --model MODEL --lora output/pytorch_lora_weights.safetensors \\
      --prompt \"a red star\" --out star.png
  sargent prepare photos dataset                    crop a folder of pictures to training sizes
  sargent inspect lora.safetensors                  what is in a LoRA, and how programs take it
  sargent export lora.safetensors --to kohya        a LoRA in another program's form
  sargent doctor                                    is the card all right, and every kernel on it?

`sargent COMMAND --help` says more; that of `train` lists every setting.

Exit codes: 0 done, 1 a failure while running, 2 a mistake found before the first step.";

/// Runs the command line `arguments`, the program's name first, and reports what went wrong.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let done = match CommandLine::try_parse_from(arguments) {
        Ok(CommandLine { device, command }) => run(command, device),
        Err(answer) => return terminal::answer(&answer),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            terminal::error(&failure.error);
            ExitCode::from(failure.code)
        }
    }
}

fn run(command: Command, device: Option<Choice>) -> Result<(), Failure> {
    match command {
        Command::Demo(args) => demo::run(&args, device),
        Command::Init(args) => init::run(&args, device),
        Command::Train(args) => train::run(&args, device).map(drop),
        Command::Sample(args) => sample::run(&args, device),
        Command::Plan(args) => plan::run(&args, device),
        Command::Report(args) => report::run(&args),
        Command::Export(args) => export::run(&args),
        Command::Inspect(args) => inspect::run(&args),
        Command::Captions(args) => captions::run(&args),
        Command::Doctor(args) => doctor::run(&args, device),
        Command::Prepare(args) => prepare::run(&args),
        Command::Licenses(args) => licenses::run(&args),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        CommandLine::command().debug_assert();
    }
}
