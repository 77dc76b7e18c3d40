//! Adapter files: read in the forms of all trainers, written in those of all readers, and proven by reading them back
//! as each reader would.
//!
//! `layers` holds the names, `read` and `write` the forms, `proof` the readers' rules, one file each.

mod base;
mod layers;
mod lora_only;
mod low_rank;
mod read;
mod rows;
mod weight_change;
mod write;

pub use base::Base;
pub use lora_only::{read_lora, write_lora};
pub use read::AdapterFile;
pub use write::{Alpha, Form, Request, SaveDtype, write};

#[cfg(test)]
mod tests;
