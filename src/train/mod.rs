//! The training run: what a step computes, in which order, and what survives between steps.
//!
//! [`recipe`] turns settings into what is trained and how, with the adapters of `adapters`; [`step`] and [`optimize`]
//! record programs; [`memory`] adds up what all of it needs; [`trainer`] runs it; [`evaluation`] and [`guard`] watch
//! it; [`checkpoint`], [`output_folder`] and [`places`] keep what
//! it leaves. The room reports steps; images and printing are its caller's.

mod adapters;
pub mod checkpoint;
pub mod data;
pub mod encoder_dropout;
pub mod evaluation;
pub mod guard;
pub mod memory;
pub mod optimize;
pub mod output_folder;
pub mod places;
pub mod programs;
pub mod recipe;
pub mod step;
pub mod trainer;

pub use data::TrainingData;
pub use encoder_dropout::EncoderDropout;
pub use memory::MemoryPlan;
pub use recipe::Recipe;
pub use trainer::{Shown, StepReport, Trainer};
