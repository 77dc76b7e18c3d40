//! Settings: one table of keys, read from JSON and the command line.
//!
//! `keys.rs` is the table. Parsing, defaults, suggestions for misspelt names, help and `SETTINGS.md` follow
//! from it. [`RunSettings`] is what the other rooms see; [`DataBackends`] is the list of data sets.

mod backends;
mod caption_shuffle;
mod captions;
mod choices;
mod compat;
mod data_set;
mod document;
mod elsewhere;
mod foreign;
mod hub;
mod keys;
mod kind;
mod kohya;
mod lycoris;
mod nearest;
mod places;
mod prompts;
mod read;
mod remarks;
mod resume;
mod run;
mod settle;
mod simpletuner;
mod source;
mod told;
mod whole;

#[cfg(test)]
mod tests;

pub use backends::{BackendSettings, DataBackends};
pub use captions::CaptionTable;
pub use choices::{
    CaptionLines, CaptionStrategy, CropAspect, CropStyle, DataSampling, DeviceChoice, GradClipMethod,
    GuardAction, LoraInit, LoraPreset, LoraTargets, LoraType, LossWeighting, LrScheduler, OptimizerKind,
    Recompute, ResolutionType, SaveDtype, SigmaDensity, Size,
};
pub use compat::{Compat, Version};
pub use document::{document, help};
pub use keys::{Effect, Key, Section, name_of};
pub use kind::Kind;
pub use lycoris::{LycorisAlgo, LycorisConfig, LycorisOptions};
pub use prompts::ValidationPrompt;
pub use remarks::{Remark, Severity, remarks};
pub use run::{RunSettings, parse_settings_bytes};
pub use source::Dialect;
pub use told::{ToldSection, ToldSetting};
pub use whole::Whole;

/// The setting that names the model.
const MODEL: &str = "pretrained_model_name_or_path";
