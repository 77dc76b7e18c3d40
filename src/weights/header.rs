//! The header of a safetensors file: what it promises, checked against what the file holds.
//!
//! The `safetensors` crate refuses a whole file for one unknown dtype and lets duplicate names pass; a model file
//! may carry fp8 tensors that nobody uses, so the header is read here.

use crate::error::{Error, Result};
use crate::tensor::DType;
use serde::de::{Deserializer, Error as _, MapAccess, Visitor};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry::{Occupied, Vacant};
use std::fmt;
use std::path::Path;

/// The largest header that the format allows.
const MAX_HEADER: u64 = 100_000_000;
/// The key of the header that holds strings about the file.
pub(super) const METADATA_KEY: &str = "__metadata__";

/// The element type that a file states for a tensor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum FileDType {
    /// One that this program reads.
    Known(DType),
    /// Any other, by its name in the file; an error once the tensor is used.
    Other(String),
}

impl FileDType {
    fn from_name(name: String) -> Self {
        match DTYPE_NAMES.iter().find(|(_, known)| *known == name) {
            Some((dtype, _)) => Self::Known(*dtype),
            None => Self::Other(name),
        }
    }
}

const DTYPE_NAMES: [(DType, &str); 7] = [
    (DType::F32, "F32"),
    (DType::F64, "F64"),
    (DType::Bf16, "BF16"),
    (DType::F16, "F16"),
    (DType::I8, "I8"),
    (DType::I32, "I32"),
    (DType::I64, "I64"),
];

/// How safetensors calls `dtype`.
pub(super) fn dtype_name(dtype: DType) -> &'static str {
    DTYPE_NAMES.iter().find(|(known, _)| *known == dtype).map_or("", |(_, name)| name)
}

/// One tensor of a file.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub dtype: FileDType,
    pub shape: Vec<usize>,
    /// First byte and the byte after the last, counted from the start of the file.
    pub start: usize,
    pub end: usize,
}

/// A checked header: every range lies inside the file and fits its shape.
#[derive(Debug, Clone, Default)]
pub(super) struct Header {
    pub tensors: BTreeMap<String, Entry>,
    pub metadata: BTreeMap<String, String>,
}

/// Reads and checks the header of the safetensors file `bytes`; `path` is for errors.
pub(super) fn parse(path: &Path, bytes: &[u8]) -> Result<Header> {
    let damaged = |cause: String| Error::weights(path, cause).hint("copy or download the file again");
    let Some((length, rest)) = bytes.split_first_chunk::<8>() else {
        return Err(damaged(format!("the file has {} bytes, too few for a safetensors file", bytes.len())));
    };
    let length = u64::from_le_bytes(*length);
    if length > MAX_HEADER {
        return Err(
            Error::weights(path, "this is not a safetensors file").hint("a .safetensors file is needed")
        );
    }
    let length = length as usize;
    let Some(json) = rest.get(..length) else {
        return Err(damaged(format!(
            "the file is cut short: its header has {length} bytes, {} are there",
            rest.len()
        )));
    };
    let raw: RawHeader = serde_json::from_slice(json)
        .map_err(|e| damaged(format!("the safetensors header cannot be read ({e})")))?;
    let mut header = Header { metadata: raw.metadata, ..Header::default() };
    for (name, tensor) in raw.tensors {
        let entry = check(path, &name, tensor, 8 + length, bytes.len())?;
        header.tensors.insert(name, entry);
    }
    Ok(header)
}

/// Checks one tensor of a file of `file_length` bytes whose data begin at byte `data`.
fn check(path: &Path, name: &str, raw: RawTensor, data: usize, file_length: usize) -> Result<Entry> {
    let damaged = |cause: String| Error::tensor(path, name, cause).hint("copy or download the file again");
    let [begin, end] = raw.data_offsets;
    let (start, stop) = match (data.checked_add(begin), data.checked_add(end)) {
        (Some(start), Some(stop)) if start <= stop && stop <= file_length => (start, stop),
        _ => {
            let there = file_length - data;
            return Err(damaged(format!(
                "the file is cut short: bytes {begin} to {end} of {there} are meant"
            )));
        }
    };
    let dtype = FileDType::from_name(raw.dtype);
    if let FileDType::Known(known) = dtype {
        let bytes = raw.shape.iter().try_fold(known.size(), |product, &extent| product.checked_mul(extent));
        if bytes != Some(end - begin) {
            let shape = raw.shape;
            return Err(damaged(format!("{known} of shape {shape:?} does not fill {} bytes", end - begin)));
        }
    }
    Ok(Entry { dtype, shape: raw.shape, start, end: stop })
}

#[derive(serde::Deserialize)]
struct RawTensor {
    dtype: String,
    shape: Vec<usize>,
    data_offsets: [usize; 2],
}

/// The header's JSON object, in which no name may occur twice.
#[derive(Default)]
struct RawHeader {
    metadata: BTreeMap<String, String>,
    tensors: BTreeMap<String, RawTensor>,
}

impl<'de> serde::Deserialize<'de> for RawHeader {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = RawHeader;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of tensors")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<RawHeader, A::Error> {
                let mut header = RawHeader::default();
                while let Some(name) = map.next_key::<String>()? {
                    if name == METADATA_KEY {
                        header.metadata = map.next_value()?;
                        continue;
                    }
                    match header.tensors.entry(name) {
                        Occupied(entry) => {
                            return Err(A::Error::custom(format!("tensor `{}` occurs twice", entry.key())));
                        }
                        Vacant(entry) => entry.insert(map.next_value()?),
                    };
                }
                Ok(header)
            }
        }
        deserializer.deserialize_map(Entries)
    }
}
