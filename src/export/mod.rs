//! Adapter files: read in the forms of all trainers, written in those of all readers, and proven by reading them back
//! as each reader would.
//!
//! `layers` holds the names, `read` the trainers' forms, `write` ours and `proof` the readers' rules, one file each.
//! `conversion` is the way from file to file, `merge` that into a model, `inspection` says what a file is.

mod base;
mod changes;
mod conversion;
mod inspection;
mod layers;
mod low_rank;
mod merge;
mod own_form;
pub mod proof;
mod read;
mod resize;
mod rows;
mod weight_change;
mod write;

pub use base::Base;
pub use changes::Changes;
pub use conversion::{Conversion, Converted, convert};
pub use inspection::{Inspection, ModuleReport, inspect};
pub use merge::{Merged, merge};
pub use own_form::{proven, read_adapters, write_adapters};
pub use read::{AdapterFile, text_encoders};
pub use write::{Alpha, Form, Request, SaveDtype, write};

#[cfg(test)]
mod tests;
