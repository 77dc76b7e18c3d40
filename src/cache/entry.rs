//! What is kept, and its form as a safetensors file.
//!
//! The header's one metadata key, `sargent`, holds a JSON object: the key's digest, against files that were
//! renamed, and a CRC-32C of the tensors' bytes, against damage that leaves the header intact.

use super::key::{Key, LatentKey, TextKey};
use crate::tensor::Shape;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// The metadata key.
const METADATA: &str = "sargent";

/// The most that a file's header takes beyond the tensors, in bytes.
const HEADER_BYTES: usize = 512;

/// The value of [`METADATA`].
#[derive(Serialize, Deserialize)]
struct Seal {
    key: String,
    crc32c: u32,
}

/// A value of the cache: named f32 tensors.
pub trait Entry: Sized {
    /// What it depends on.
    type Key: Key;
    /// The tensors' names in order.
    const NAMES: [&'static str; 2];

    /// The tensors in the order of [`Entry::NAMES`].
    fn tensors(&self) -> [(Shape, &[f32]); 2];

    /// The value made of such tensors, if their shapes fit together.
    fn from_tensors(tensors: [(Shape, Vec<f32>); 2]) -> Option<Self>;
}

/// The distribution that the VAE's encoder gives for a picture, before scaling and shifting.
#[derive(Debug, Clone, PartialEq)]
pub struct Latents {
    /// Channels, height and width of both parts.
    pub shape: [usize; 3],
    /// Means, row-major.
    pub mean: Vec<f32>,
    /// Logarithms of the variances, row-major, as the encoder gives them.
    pub logvar: Vec<f32>,
}

impl Latents {
    /// An upper bound of an entry's size on disk in bytes.
    pub fn file_bytes(shape: [usize; 3]) -> usize {
        HEADER_BYTES + 2 * 4 * shape.iter().product::<usize>()
    }
}

impl Entry for Latents {
    type Key = LatentKey;
    const NAMES: [&'static str; 2] = ["logvar", "mean"];

    fn tensors(&self) -> [(Shape, &[f32]); 2] {
        [(self.shape.into(), &self.logvar), (self.shape.into(), &self.mean)]
    }

    fn from_tensors([(shape, logvar), (mean_shape, mean)]: [(Shape, Vec<f32>); 2]) -> Option<Self> {
        let dims: [usize; 3] = shape.dims().try_into().ok()?;
        (shape == mean_shape).then_some(Self { shape: dims, mean, logvar })
    }
}

/// What the text encoders give for a text.
#[derive(Debug, Clone, PartialEq)]
pub struct TextEmbeddings {
    /// Tokens and width of `prompt_embeds`.
    pub shape: [usize; 2],
    /// The joint sequence of CLIP and T5 embeddings, row-major.
    pub prompt_embeds: Vec<f32>,
    /// The two pooled CLIP embeddings, one after the other.
    pub pooled: Vec<f32>,
}

impl TextEmbeddings {
    /// An upper bound of an entry's size on disk in bytes.
    pub fn file_bytes(shape: [usize; 2], pooled: usize) -> usize {
        HEADER_BYTES + 4 * (shape.iter().product::<usize>() + pooled)
    }
}

impl Entry for TextEmbeddings {
    type Key = TextKey;
    const NAMES: [&'static str; 2] = ["pooled", "prompt_embeds"];

    fn tensors(&self) -> [(Shape, &[f32]); 2] {
        [([self.pooled.len()].into(), &self.pooled), (self.shape.into(), &self.prompt_embeds)]
    }

    fn from_tensors(tensors: [(Shape, Vec<f32>); 2]) -> Option<Self> {
        let [(pooled_shape, pooled), (shape, prompt_embeds)] = tensors;
        let dims: [usize; 2] = shape.dims().try_into().ok()?;
        (pooled_shape.dims().len() == 1).then_some(Self { shape: dims, prompt_embeds, pooled })
    }
}

/// The file of `entry` under the key with `digest`.
///
/// # Errors
/// Tensors whose data do not fill their shapes, in words.
pub(super) fn to_file<E: Entry>(entry: &E, digest: &str) -> Result<Vec<u8>, String> {
    let tensors = entry.tensors();
    let bytes: [&[u8]; 2] = [bytemuck::cast_slice(tensors[0].1), bytemuck::cast_slice(tensors[1].1)];
    let seal = Seal { key: digest.to_owned(), crc32c: checksum(bytes) };
    let seal = serde_json::to_string(&seal).map_err(|e| e.to_string())?;
    let mut views = Vec::new();
    for i in 0..2 {
        let view = TensorView::new(Dtype::F32, tensors[i].0.dims().to_vec(), bytes[i]);
        views.push((E::NAMES[i], view.map_err(|e| format!("{}: {e}", E::NAMES[i]))?));
    }
    let metadata = HashMap::from([(METADATA.to_owned(), seal)]);
    safetensors::serialize(views, Some(metadata)).map_err(|e| e.to_string())
}

/// The entry in `file`, which must be the one under the key with `digest`.
///
/// # Errors
/// Whatever shows that the file is damaged or another one, in words.
pub(super) fn from_file<E: Entry>(file: &[u8], digest: &str) -> Result<E, String> {
    let (_, header) = SafeTensors::read_metadata(file).map_err(|e| e.to_string())?;
    let seal = header.metadata().as_ref().and_then(|metadata| metadata.get(METADATA)).ok_or("no seal")?;
    let seal: Seal = serde_json::from_str(seal).map_err(|e| e.to_string())?;
    if seal.key != digest {
        return Err("belongs to another key".to_owned());
    }
    let tensors = SafeTensors::deserialize(file).map_err(|e| e.to_string())?;
    let [first, second] = E::NAMES.map(|name| tensors.tensor(name).map_err(|e| e.to_string()));
    let (first, second) = (first?, second?);
    if checksum([first.data(), second.data()]) != seal.crc32c {
        return Err("the checksum does not match".to_owned());
    }
    let read = [floats(&first)?, floats(&second)?];
    E::from_tensors(read).ok_or_else(|| "the shapes do not fit together".to_owned())
}

/// CRC-32C of both tensors' bytes.
fn checksum(bytes: [&[u8]; 2]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(bytes[0]), bytes[1])
}

/// A tensor's shape and values; the file's bytes need not be aligned.
fn floats(view: &TensorView<'_>) -> Result<(Shape, Vec<f32>), String> {
    if view.dtype() != Dtype::F32 {
        return Err(format!("holds {:?} instead of F32", view.dtype()));
    }
    Ok((Shape::from(view.shape()), bytemuck::pod_collect_to_vec(view.data())))
}
