//! Settings: one table of keys, read from JSON and the command line.
//!
//! `keys.rs` is the table. Parsing, defaults, suggestions for misspelt names, help and `SETTINGS.md` follow
//! from it. [`RunSettings`] is what the other rooms see; [`DataBackends`] is the list of data sets.

mod backends;
mod captions;
mod choices;
mod document;
mod elsewhere;
mod foreign;
mod keys;
mod kind;
mod lycoris;
mod nearest;
mod prompts;
mod read;
mod resume;
mod run;
mod settle;
mod told;

#[cfg(test)]
mod tests;

pub use backends::{BackendSettings, DataBackends};
pub use captions::CaptionTable;
pub use choices::{
    CaptionLines, CaptionStrategy, CropAspect, CropStyle, DeviceChoice, GuardAction, LoraInit, LoraPreset,
    LoraTargets, LoraType, LossWeighting, LrScheduler, OptimizerKind, Recompute, SaveDtype, SigmaDensity,
    Size,
};
pub use document::{document, help};
pub use keys::{Effect, Key, Section, name_of};
pub use kind::Kind;
pub use lycoris::{LycorisAlgo, LycorisConfig, LycorisOptions};
pub use prompts::ValidationPrompt;
pub use run::{RunSettings, parse_settings_bytes};
pub use told::{ToldSection, ToldSetting};
