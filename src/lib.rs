//! LoRA training for Stable Diffusion 3.5. ARCHITECTURE.md walks through the rooms.

pub mod autograd;
pub mod cache;
pub mod cli;
pub mod dataset;
pub mod device;
pub mod diffusion;
pub mod doctor;
pub mod encode;
pub mod error;
pub mod export;
pub mod files;
pub mod kernels;
pub mod models;
pub mod ops;
pub mod optimizer;
pub mod prepare;
pub mod random;
pub mod report;
pub mod run;
pub mod settings;
pub mod tensor;
pub mod train;
pub mod validate;
pub mod weights;
