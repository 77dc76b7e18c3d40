//! Adapters: which linear layers they change, and what they are made of.
//!
//! An adapter lowers to what the linear op knows ([`crate::ops::linear::Lowered`]); models never see its kind.

pub mod change;
pub mod load;
pub mod lora;
pub mod lora_module;
pub mod modules;
pub mod targets;

pub use change::{AdapterModule, Change, Factor, Matrix};
pub use lora::{Adapters, LoraPair};
pub use lora_module::LoraModule;
pub use modules::{Module, modules};
pub use targets::{Targets, select};
