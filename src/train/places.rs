//! Where things lie in an output folder.

use super::checkpoint;
use std::path::{Path, PathBuf};

/// The name of the trained LoRA, in the output folder and in every checkpoint.
pub const LORA_FILE: &str = "pytorch_lora_weights.safetensors";
pub(super) const VALIDATION: &str = "validation";
pub(super) const VALIDATION_STEP: &str = "step-";
pub(super) const TENSORBOARD: &str = "tensorboard";

/// The paths in an output folder, whether there is one or not.
#[derive(Debug, Clone)]
pub struct Places(PathBuf);

impl Places {
    /// Those below `path`.
    pub fn new(path: &Path) -> Self {
        Self(path.to_owned())
    }

    /// The folder itself.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The trained LoRA.
    pub fn lora(&self) -> PathBuf {
        self.0.join(LORA_FILE)
    }

    /// The folder of the checkpoint after `step`.
    pub fn checkpoint(&self, step: u64) -> PathBuf {
        self.0.join(checkpoint::name(step))
    }

    /// The validation image of the prompt `name` after `step`.
    pub fn validation_image(&self, step: u64, name: &str, width: u32, height: u32) -> PathBuf {
        let folder = format!("{VALIDATION_STEP}{step:06}");
        self.0.join(VALIDATION).join(folder).join(format!("{name}_{width}x{height}.png"))
    }

    /// The steps after which there may be validation images up to `last`, ascending.
    pub fn validation_steps(&self, last: u64) -> Vec<u64> {
        let entries = std::fs::read_dir(self.0.join(VALIDATION)).into_iter().flatten().flatten();
        let step = |name: std::ffi::OsString| name.to_str()?.strip_prefix(VALIDATION_STEP)?.parse().ok();
        let mut steps: Vec<u64> = entries.filter_map(|entry| step(entry.file_name())).collect();
        steps.retain(|&step| step <= last);
        steps.sort_unstable();
        steps
    }

    /// The image of the prompt `name` after `step` with the LoRA at `strength`.
    pub fn strength_image(&self, step: u64, name: &str, size: (u32, u32), strength: f64) -> PathBuf {
        let plain = self.validation_image(step, name, size.0, size.1);
        let stem = plain.file_stem().unwrap_or_default().to_string_lossy();
        plain.with_file_name(format!("{stem}_strength-{strength}.png"))
    }

    /// The metrics of every step.
    pub fn metrics(&self) -> PathBuf {
        self.0.join("metrics.jsonl")
    }

    /// The samples of every step.
    pub fn samples(&self) -> PathBuf {
        self.0.join("samples.jsonl")
    }

    /// What the samples are.
    pub fn pictures(&self) -> PathBuf {
        self.0.join("pictures.jsonl")
    }

    /// The evaluations of held-out pictures.
    pub fn evaluations(&self) -> PathBuf {
        self.0.join("evaluation.jsonl")
    }

    /// What the run said.
    pub fn notes(&self) -> PathBuf {
        self.0.join("notes.jsonl")
    }

    /// The pictures that are held out of training.
    pub fn held_out(&self) -> PathBuf {
        self.0.join("held_out.txt")
    }

    /// The folder of event files.
    pub fn tensorboard(&self) -> PathBuf {
        self.0.join(TENSORBOARD)
    }

    /// The plot of loss, learning rate and gradient norm.
    pub fn plot(&self) -> PathBuf {
        self.0.join("training.png")
    }

    /// The images before and after training, side by side.
    pub fn before_after(&self) -> PathBuf {
        self.0.join("before_after.png")
    }

    /// The first prompt at several strengths of the LoRA.
    pub fn strengths(&self) -> PathBuf {
        self.0.join("strengths.png")
    }

    /// The run told in one page.
    pub fn report(&self) -> PathBuf {
        self.0.join("report.html")
    }

    /// What the report says of the run as a whole.
    pub fn about(&self) -> PathBuf {
        self.0.join("about.json")
    }

    /// The device that trains, and what a step's time depends on.
    pub fn pace(&self) -> PathBuf {
        self.0.join("pace.json")
    }

    /// The settings as used.
    pub fn settings(&self) -> PathBuf {
        self.0.join("settings.json")
    }

    /// The prompt library as used.
    pub fn prompts(&self) -> PathBuf {
        self.0.join("user_prompt_library.json")
    }

    /// The data sets as used.
    pub fn data_backends(&self) -> PathBuf {
        self.0.join("multidatabackend.json")
    }
}
