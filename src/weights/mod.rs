//! Model files: mapped safetensors, key layouts and weights.
//!
//! A file is mapped ([`TensorFile`]), its names are translated by a table ([`layouts`]), and the result is a
//! [`WeightMap`] of canonical names, the same for every layout of a model. Nothing is read until a [`Weight`] is.

pub mod layouts;

mod convert;
mod detect;
mod fingerprint;
mod header;
mod mapped;
mod model_files;
mod parts;
mod rewrite;
mod sources;
mod weight;
mod weight_map;
mod write;

pub use fingerprint::fingerprint;
pub use mapped::{TensorFile, TensorView};
pub use model_files::{
    ModelFiles, Overrides, TextEncoderFiles, VAE_SETTING, VaeConstants, encoder_setting, tokenizer_setting,
};
pub use parts::{TextEncoder, open_mmdit, open_text_encoder, open_vae};
pub use rewrite::rewrite;
pub use sources::TensorSet;
pub use weight::{FileRows, Layout, Residency, Scales, Weight};
pub use weight_map::WeightMap;
pub use write::{TensorBytes, write_tensors};
