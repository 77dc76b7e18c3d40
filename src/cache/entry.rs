//! What is kept, and its form as a safetensors file.
//!
//! The header's one metadata key, `sargent`, holds a JSON object: the key's digest, against files that were
//! renamed, and a CRC-32C of the tensors' bytes, against damage that leaves the header intact.

use super::key::{Key, LatentKey, TextKey};
use crate::error::{Error, Result};
use crate::tensor::{DType, Shape};
use crate::weights::{TensorBytes, TensorFile, write_tensors};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::BTreeMap;
use std::path::Path;

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

/// Writes `entry` to `path`, under the key with `digest`.
///
/// # Errors
/// Tensors whose data do not fill their shapes; what the disk says.
pub(super) fn write<E: Entry>(path: &Path, entry: &E, digest: &str) -> Result<()> {
    let [first, second] = entry.tensors();
    let crc32c = checksum([bytemuck::cast_slice(first.1), bytemuck::cast_slice(second.1)]);
    let tensor = |name, (shape, values)| TensorBytes::f32(name, shape, values);
    let tensors = [tensor(E::NAMES[0], first), tensor(E::NAMES[1], second)];
    let seal = json!(Seal { key: digest.to_owned(), crc32c }).to_string();
    write_tensors(path, &tensors, &BTreeMap::from([(METADATA.to_owned(), seal)]))
}

/// The entry in `file`, which must be the one under the key with `digest`.
///
/// # Errors
/// Whatever shows that the file is damaged or another one.
pub(super) fn read<E: Entry>(file: &TensorFile, digest: &str) -> Result<E> {
    let damaged = |cause: &str| Error::weights(file.path(), cause);
    let seal = file.metadata().get(METADATA).ok_or_else(|| damaged("no seal"))?;
    let seal: Seal = serde_json::from_str(seal).map_err(|e| damaged(&e.to_string()))?;
    if seal.key != digest {
        return Err(damaged("belongs to another key"));
    }
    let [first, second] = E::NAMES.map(|name| file.view(name));
    let views = [first?, second?];
    if checksum(views.map(|view| view.bytes)) != seal.crc32c {
        return Err(damaged("the checksum does not match"));
    }
    if views.iter().any(|view| view.dtype != DType::F32) {
        return Err(damaged("its numbers are not of 32 bits"));
    }
    // The file's bytes need not be aligned.
    let read = views.map(|view| (Shape::from(view.shape), bytemuck::pod_collect_to_vec(view.bytes)));
    E::from_tensors(read).ok_or_else(|| damaged("the shapes do not fit together"))
}

/// CRC-32C of both tensors' bytes.
fn checksum(bytes: [&[u8]; 2]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(bytes[0]), bytes[1])
}
