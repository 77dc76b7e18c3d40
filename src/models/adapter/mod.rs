//! Adapters: which linear layers they change, and what they are made of.
//!
//! An adapter lowers to what the linear op knows ([`crate::ops::linear::Lowered`]); models never see its form.

mod adapters;
pub mod change;
pub mod form;
pub mod load;
pub mod lokr;
mod lowering;
pub mod modules;
mod of_layer;
pub mod patterns;
pub mod targets;
mod values;

pub use adapters::Adapters;
pub use change::{AdapterModule, Change, Factor, Matrix};
pub use form::{Form, LoraInit};
pub use modules::{Module, modules};
pub use of_layer::Adapter;
pub use targets::{Targets, select};
