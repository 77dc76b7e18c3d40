//! Adapter files: read in the forms of all trainers, written in those of all readers, and proven by reading them back
//! as each reader would.
//!
//! `layers` holds the names, `read` the trainers' forms, `write` ours and `proof` the readers' rules, one file each.
//! `conversion` is the way from file to file, `merge` that into a model, `inspection` says what a file is.

mod base;
mod conversion;
mod inspection;
mod layers;
mod lora_only;
mod low_rank;
mod merge;
pub mod proof;
mod read;
mod resize;
mod rows;
mod weight_change;
mod write;

pub use base::Base;
pub use conversion::{Conversion, Converted, convert};
pub use inspection::{Inspection, ModuleReport, inspect};
pub use lora_only::{proven, read_lora, write_lora};
pub use merge::{Merged, merge};
pub use read::{AdapterFile, text_encoders};
pub use write::{Alpha, Form, Request, SaveDtype, write};

#[cfg(test)]
mod tests;
