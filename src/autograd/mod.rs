//! The step as a program: recorded, differentiated, planned, then walked.
//!
//! A [`program::Program`] is a list of kernel launches over named tensors. [`derive`] adds the launches of the
//! backward pass, [`recompute`] trades kept activations for repeated launches, [`plan`] gives every tensor its
//! place in one arena, [`run`] walks the list. Running allocates nothing.

pub mod derive;
pub mod encoding;
pub mod fuse;
pub mod halve;
pub mod lower;
pub mod persistent;
pub mod plan;
pub mod program;
pub mod recompute;
pub mod rest;
pub mod run;

pub use derive::Derivation;
pub use persistent::Persistent;
pub use plan::{Plan, plan};
pub use program::{Home, Program, Retention};
pub use recompute::Recompute;
pub use run::Engine;
