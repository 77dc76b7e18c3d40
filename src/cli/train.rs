//! `sargent train`: a run as a settings file says.

use super::failure::Failure;
use super::overrides::{self, Override};
use super::{device, signals, steps, terminal};
use crate::device::Choice;
use crate::encode::Stage;
use crate::report::metrics::StepMetrics;
use crate::report::progress::Progress;
use crate::run::Opened;
use crate::run::progress::{Observer, Outcome};
use crate::run::training;
use crate::settings::{self, RunSettings, Severity};
use std::path::PathBuf;

/// Train a LoRA as a settings file says
///
/// The settings are a file or the folder that holds it: JSON, TOML or SimpleTuner's config.env of the settings below,
/// under SimpleTuner's names, or a TOML config of kohya's scripts. A minimal one:
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
    /// The settings file, or its folder
    pub config: PathBuf,

    /// A setting that wins over the file; may be given many times, an empty value takes the default
    #[arg(long, value_name = "KEY=VALUE", value_parser = overrides::parse)]
    pub set: Vec<Override>,

    /// Do what SimpleTuner really did where its names say something else: `simpletuner`, or of a version,
    /// `simpletuner=1.1.4`; its defaults hold too
    #[arg(long, value_name = "WHOSE")]
    pub compat: Option<String>,
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
  sargent train config --compat simpletuner=1.1.4                   as that version of SimpleTuner did
  sargent train output/settings.json --set output_dir=again         repeat a run

The output folder then holds pytorch_lora_weights.safetensors, checkpoint-N/, validation/,
metrics.jsonl, tensorboard/, plots, and the settings as used. Ctrl-C writes a checkpoint and
stops; a second one stops at once.
";

/// Trains; says how the run ended.
pub fn run(args: &TrainArgs, device: Option<Choice>) -> Result<Outcome, Failure> {
    let settings =
        RunSettings::load(&args.config, &overrides::with_compat(&args.set, args.compat.as_deref()))?;
    let data = settings.data_backends()?;
    terminal::ignored_settings(settings.ignored.iter().chain(&data.ignored));
    let device = device::announced(device, settings.device)?;
    let opened = Opened::open(settings, data, true)?;
    warnings(&opened);
    opened.dataset.notes.iter().for_each(terminal::note);
    opened.dataset.broken.iter().for_each(|error| terminal::note(format_args!("left out: {error}")));
    steps::table(opened.schedule.steps()).iter().for_each(terminal::note);
    steps::views(&opened.dataset).iter().for_each(terminal::note);
    let stop = signals::stop()?;
    let mut watch = Watch::default();
    let outcome = training::train(&opened, &device, &mut watch, &stop).map_err(|failed| {
        if failed.while_running { Failure::while_running(failed.error) } else { failed.error.into() }
    })?;
    watch.finish();
    let output = opened.settings.output_dir.display();
    match outcome {
        Outcome::Finished => terminal::note(format_args!("done: {output}")),
        Outcome::NothingToDo => terminal::note(format_args!("all steps were done already: {output}")),
        Outcome::Stopped(0) => terminal::note("stopped before the first step; what was encoded is kept"),
        Outcome::StoppedByGuard(step) => terminal::note(format_args!(
            "stopped by the guard after step {step}; the note above names the last good checkpoint"
        )),
        Outcome::Stopped(step) => terminal::note(format_args!(
            "stopped after step {step}; resume_from_checkpoint=latest goes on from there"
        )),
    }
    Ok(outcome)
}

/// Says what in the settings may well not be what their author believes; the rest of the remarks are `plan`'s.
fn warnings(opened: &Opened) {
    let mut remarks =
        settings::remarks(&opened.settings, &opened.backends, opened.schedule.total_steps() as u64);
    let all = remarks.len();
    remarks.retain(|remark| remark.severity == Severity::Warning);
    if !remarks.is_empty() {
        terminal::note(terminal::remarks(&remarks));
    }
    if remarks.len() < all {
        terminal::note("`sargent plan` says more about these settings");
    }
}

/// Shows a run's progress on stderr.
#[derive(Default)]
struct Watch {
    bar: Option<Progress>,
    label: String,
    /// Steps done.
    step: u64,
}

impl Watch {
    /// The bar of this label, a new one if another was shown.
    fn bar(&mut self, label: &str, done: u64, total: u64) -> &mut Progress {
        if self.label != label {
            self.finish();
            self.label = label.to_owned();
        }
        self.bar.get_or_insert_with(|| Progress::on_stderr(label, done, total))
    }

    fn finish(&mut self) {
        self.bar.take().into_iter().for_each(Progress::finish);
        self.label.clear();
    }
}

impl Observer for Watch {
    fn note(&mut self, text: &str) {
        match &self.bar {
            Some(bar) => bar.note(text),
            None => terminal::note(text),
        }
    }

    fn encoding(&mut self, stage: Stage, done: usize, total: usize) {
        let label = match stage {
            Stage::Pictures => "encoding pictures",
            Stage::Texts => "encoding texts",
        };
        // Between steps the training bar stays.
        match self.bar.as_mut().filter(|_| self.label == "training") {
            Some(bar) => bar.update(self.step, &format!("{label} {done}/{total}")),
            None => self.bar(label, 0, total as u64).update(done as u64, ""),
        }
    }

    fn training(&mut self, done: u64, total: u64) {
        self.step = done;
        self.bar("training", done, total);
    }

    fn step(&mut self, metrics: &StepMetrics) {
        self.step = metrics.step;
        if let Some(bar) = self.bar.as_mut().filter(|_| self.label == "training") {
            bar.training_step(metrics);
        }
    }

    fn drawn(&mut self, step: u64, done: usize, total: usize) {
        // Between steps the training bar stays, and pictures are told as they come.
        match &self.bar {
            Some(bar) if self.label == "training" => {
                if done == total {
                    bar.note(&format!("drew {total} validation pictures after step {step}"));
                }
            }
            _ => self.bar("drawing", 0, total as u64).update(done as u64, ""),
        }
    }
}
