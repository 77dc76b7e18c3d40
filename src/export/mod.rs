//! The LoRA file: key names, alpha folded in, reproducible bytes.
//!
//! One form is written ([`write_lora`]); the forms of other tools are read ([`read_lora`]).

mod lora_reader;
mod lora_writer;
mod module_names;

pub use lora_reader::read_lora;
pub use lora_writer::{SaveDtype, write_lora};

#[cfg(test)]
mod tests;
