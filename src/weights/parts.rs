//! The parts of a model, each from files of its own or from one that holds several.

use super::detect;
use super::layouts::{self, Table};
use super::sources::TensorSet;
use super::weight::{Residency, Weight};
use super::weight_map::WeightMap;
use crate::error::{Error, Result};
use crate::tensor::Shape;
use std::path::Path;

/// The three text encoders.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TextEncoder {
    /// CLIP-L.
    ClipL,
    /// OpenCLIP bigG.
    ClipG,
    /// T5-XXL.
    T5,
}

impl TextEncoder {
    /// Its name for people.
    pub const fn title(self) -> &'static str {
        self.table().part
    }

    /// All of them, in the order of diffusers' folders.
    pub const ALL: [Self; 3] = [Self::ClipL, Self::ClipG, Self::T5];

    const fn table(self) -> &'static Table {
        match self {
            Self::ClipL => &layouts::CLIP_L,
            Self::ClipG => &layouts::CLIP_G,
            Self::T5 => &layouts::T5,
        }
    }
}

/// The MMDiT in a safetensors file (bare or among others) or in a folder with one or with shards.
///
/// Fails, saying what it is, if the file is not of Stable Diffusion 3.5.
pub fn open_mmdit(path: &Path) -> Result<WeightMap> {
    mmdit(&TensorSet::open(path)?)
}

/// The VAE in a file or folder, in either layout.
pub fn open_vae(path: &Path) -> Result<WeightMap> {
    required(vae(&TensorSet::open(path)?)?, path, "VAE")
}

/// A text encoder in a file or folder; its layers are streamed.
pub fn open_text_encoder(path: &Path, which: TextEncoder) -> Result<WeightMap> {
    required(text_encoder(&TensorSet::open(path)?, which)?, path, which.table().part)
}

pub(super) fn mmdit(tensors: &TensorSet) -> Result<WeightMap> {
    detect::require_sd35(tensors)?;
    layouts::MMDIT.load(tensors)
}

/// The VAE among `tensors`, if it is there.
pub(super) fn vae(tensors: &TensorSet) -> Result<Option<WeightMap>> {
    let weights = layouts::VAE.load(tensors)?;
    if let Ok(first) = weights.get("decoder.conv_in.weight") {
        let channels = first.shape.columns();
        if channels == 4 {
            return Err(first
                .wrong("this VAE has 4 latent channels: it is of Stable Diffusion 1, 2 or XL")
                .hint("name the VAE of Stable Diffusion 3.5, which has 16"));
        }
    }
    Ok(present(weights))
}

/// The text encoder among `tensors`, if it is there.
///
/// A projection that is the identity is left out: the single files have none where diffusers' folders have that.
pub(super) fn text_encoder(tensors: &TensorSet, which: TextEncoder) -> Result<Option<WeightMap>> {
    let mut weights = which.table().load(tensors)?.with_residency(Residency::Streamed);
    const PROJECTION: &str = "text_projection.weight";
    if let Ok(projection) = weights.get(PROJECTION)
        && is_identity(projection)?
    {
        weights.remove(PROJECTION);
    }
    Ok(present(weights))
}

fn present(weights: WeightMap) -> Option<WeightMap> {
    let any = weights.names().next().is_some() || weights.first_refusal().is_some();
    any.then_some(weights)
}

fn required(weights: Option<WeightMap>, path: &Path, part: &str) -> Result<WeightMap> {
    weights.ok_or_else(|| {
        Error::weights(path, format!("there is no {part} in it"))
            .hint("see that the path names the right file")
    })
}

/// Whether a weight is the identity matrix; reads no further than the first row that differs.
fn is_identity(weight: &Weight) -> Result<bool> {
    let rows = weight.row_count();
    if weight.shape != Shape::from([rows, rows]) {
        return Ok(false);
    }
    let mut row = vec![0.0; rows];
    for i in 0..rows {
        weight.read_rows_f32(i..i + 1, &mut row)?;
        if row.iter().enumerate().any(|(j, value)| *value != if i == j { 1.0 } else { 0.0 }) {
            return Ok(false);
        }
    }
    Ok(true)
}
