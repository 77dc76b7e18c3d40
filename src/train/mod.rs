//! The training run: steps, checkpoints, resume.

pub mod checkpoint;
pub mod output_folder;
