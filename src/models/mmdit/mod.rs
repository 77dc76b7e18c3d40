//! MMDiT and MMDiT-X, the transformer of SD3.5 (Esser et al., arXiv 2403.03206), as recorded programs.
//!
//! Two programs: [`modulation`] turns timestep and pooled prompt into every block's modulation vectors, for as
//! many rows as wanted; [`transformer`] takes those vectors as inputs and predicts the velocity.

pub mod ahead;
pub mod config;
pub mod modulation;
pub mod positions;
pub mod transformer;

pub use ahead::{Conditioning, ModulationAhead};
pub use config::MmditConfig;
pub use modulation::{ModulationInputs, ModulationVectors, record_modulation};
pub use transformer::{TransformerInputs, record_transformer, record_transformer_without};
