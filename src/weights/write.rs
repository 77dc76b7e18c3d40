//! Writing safetensors files: the same tensors give the same bytes.

use super::header::{METADATA_KEY, dtype_name};
use crate::error::{Error, Result};
use crate::files;
use crate::tensor::{DType, Shape};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;

/// A tensor to be written.
#[derive(Debug, Clone)]
pub struct TensorBytes<'a> {
    /// Its name in the file.
    pub name: Cow<'a, str>,
    /// Element type.
    pub dtype: DType,
    /// Extents.
    pub shape: Shape,
    /// Row-major little-endian elements.
    pub bytes: Cow<'a, [u8]>,
}

impl<'a> TensorBytes<'a> {
    /// A tensor of f32 values.
    pub fn f32(name: impl Into<Cow<'a, str>>, shape: impl Into<Shape>, values: &'a [f32]) -> Self {
        // Files are little-endian, as are the machines this program runs on.
        let bytes = Cow::Borrowed(bytemuck::cast_slice(values));
        Self { name: name.into(), dtype: DType::F32, shape: shape.into(), bytes }
    }

    /// A bf16 tensor of f32 values, each rounded to nearest even.
    pub fn bf16(name: impl Into<Cow<'a, str>>, shape: impl Into<Shape>, values: &[f32]) -> Self {
        let bytes = values.iter().flat_map(|v| half::bf16::from_f32(*v).to_le_bytes()).collect();
        Self { name: name.into(), dtype: DType::Bf16, shape: shape.into(), bytes: Cow::Owned(bytes) }
    }
}

/// Writes `tensors` and `metadata` to `path`, whole or not at all.
///
/// Tensors lie in the order of element size, largest first (so each is aligned), then name; metadata in the order
/// of their keys. A name that occurs twice or bytes that do not fit their shape are errors.
pub fn write_tensors(
    path: &Path,
    tensors: &[TensorBytes<'_>],
    metadata: &BTreeMap<String, String>,
) -> Result<()> {
    let mut ordered: Vec<&TensorBytes<'_>> = tensors.iter().collect();
    ordered.sort_by(|a, b| b.dtype.size().cmp(&a.dtype.size()).then_with(|| a.name.cmp(&b.name)));
    let header = header(path, &ordered, metadata)?;
    files::replace(path, |out| {
        out.write_all(&(header.len() as u64).to_le_bytes())?;
        out.write_all(&header)?;
        ordered.iter().try_for_each(|tensor| out.write_all(&tensor.bytes))
    })
}

/// The JSON header, padded with spaces so that the data begin at a multiple of eight bytes.
fn header(path: &Path, tensors: &[&TensorBytes<'_>], metadata: &BTreeMap<String, String>) -> Result<Vec<u8>> {
    let mut entries = serde_json::Map::new();
    if !metadata.is_empty() {
        entries.insert(METADATA_KEY.to_owned(), serde_json::json!(metadata));
    }
    let mut end = 0;
    for tensor in tensors {
        let wrong = |cause: String| Error::tensor(path, &tensor.name, cause);
        if tensor.bytes.len() != tensor.shape.elements() * tensor.dtype.size() {
            let (dtype, shape, bytes) = (tensor.dtype, &tensor.shape, tensor.bytes.len());
            return Err(wrong(format!("{dtype} of shape {shape} does not fill {bytes} bytes")));
        }
        let start = end;
        end += tensor.bytes.len();
        let entry = serde_json::json!({
            "dtype": dtype_name(tensor.dtype), "shape": tensor.shape.dims(), "data_offsets": [start, end],
        });
        if entries.insert(tensor.name.to_string(), entry).is_some() {
            return Err(wrong("it would be written twice".to_owned()));
        }
    }
    let mut json = serde_json::Value::Object(entries).to_string().into_bytes();
    json.resize(json.len().next_multiple_of(8), b' ');
    Ok(json)
}

#[cfg(test)]
mod tests {
    use super::super::TensorFile;
    use super::*;

    fn some() -> Vec<TensorBytes<'static>> {
        vec![
            TensorBytes::bf16("z", [2, 2], &[1.0, -2.0, 0.5, 3.0]),
            TensorBytes::bf16("a", [1], &[4.0]),
            TensorBytes::f32("m", [3], &[0.1, 0.2, 0.3]),
        ]
    }

    #[test]
    fn what_is_written_is_read_by_us_and_by_the_safetensors_crate() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/t.safetensors");
        let metadata =
            BTreeMap::from([("b".to_owned(), "2".to_owned()), ("a".to_owned(), "\"1\"".to_owned())]);
        write_tensors(&path, &some(), &metadata).unwrap();
        let ours = TensorFile::open(&path).unwrap();
        assert_eq!(ours.metadata(), &metadata);
        assert_eq!(ours.read_f32("z").unwrap(), [1.0, -2.0, 0.5, 3.0]);
        assert_eq!(ours.read_f32("m").unwrap(), [0.1, 0.2, 0.3]);
        let bytes = std::fs::read(&path).unwrap();
        let theirs = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        assert_eq!(theirs.len(), 3);
        let z = theirs.tensor("z").unwrap();
        assert_eq!((z.dtype(), z.shape()), (safetensors::Dtype::BF16, &[2, 2][..]));
        assert_eq!(z.data(), ours.view("z").unwrap().bytes);
        let header = u64::from_le_bytes(bytes[..8].try_into().unwrap());
        assert_eq!(header % 8, 0);
    }

    #[test]
    fn the_bytes_do_not_depend_on_the_order_given() {
        let folder = tempfile::tempdir().unwrap();
        let (one, two) = (folder.path().join("1"), folder.path().join("2"));
        let mut tensors = some();
        write_tensors(&one, &tensors, &BTreeMap::new()).unwrap();
        tensors.reverse();
        write_tensors(&two, &tensors, &BTreeMap::new()).unwrap();
        assert_eq!(std::fs::read(one).unwrap(), std::fs::read(two).unwrap());
    }

    #[test]
    fn wrong_tensors_are_refused_and_leave_no_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.safetensors");
        let twice = [TensorBytes::f32("a", [1], &[0.0]), TensorBytes::f32("a", [1], &[0.0])];
        assert!(write_tensors(&path, &twice, &BTreeMap::new()).is_err());
        let short = [TensorBytes::f32("a", [2], &[0.0])];
        let error = write_tensors(&path, &short, &BTreeMap::new()).unwrap_err();
        assert!(error.place.contains("`a`"), "{error}");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
