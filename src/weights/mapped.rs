//! A safetensors file in memory: mapped, so that a tensor is read from disk when it is used.

use super::convert;
use super::header::{self, FileDType, Header};
use crate::error::{Error, Result};
use crate::tensor::DType;
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

/// A safetensors file whose header has been checked.
pub struct TensorFile {
    path: PathBuf,
    contents: Contents,
    header: Header,
}

/// Where the bytes are.
enum Contents {
    Mapped(memmap2::Mmap),
    Owned(Vec<u8>),
}

/// A tensor as it lies in its file.
#[derive(Debug, Clone, Copy)]
pub struct TensorView<'a> {
    /// Element type.
    pub dtype: DType,
    /// Extents, outermost first.
    pub shape: &'a [usize],
    /// Row-major little-endian elements, at any alignment.
    pub bytes: &'a [u8],
}

impl TensorFile {
    /// Maps the file at `path` and checks its header.
    pub fn open(path: &Path) -> Result<Self> {
        let at = |e: &std::io::Error| {
            Error::weights(path, Error::io(path, e).cause).hint("name an existing .safetensors file")
        };
        let file = std::fs::File::open(path).map_err(|e| at(&e))?;
        let about = file.metadata().map_err(|e| at(&e))?;
        if !about.is_file() {
            return Err(Error::weights(path, "this is not a file").hint("name an existing .safetensors file"));
        }
        if about.len() == 0 {
            return Self::from_bytes(path, Vec::new());
        }
        // SAFETY: the mapping is read-only and lives as long as the slices that borrow from it. It would be
        // unsound if another process cut or rewrote the file meanwhile; model files are not written in place
        // (ours are replaced by renaming), and reading them whole instead would need the memory twice.
        let map = unsafe { memmap2::Mmap::map(&file) }.map_err(|e| at(&e))?;
        Self::checked(path, Contents::Mapped(map))
    }

    /// A file from bytes at hand, checked in the same way; `path` is its name in errors.
    pub fn from_bytes(path: &Path, bytes: Vec<u8>) -> Result<Self> {
        Self::checked(path, Contents::Owned(bytes))
    }

    fn checked(path: &Path, contents: Contents) -> Result<Self> {
        let header = header::parse(path, contents.bytes())?;
        Ok(Self { path: path.to_owned(), contents, header })
    }

    /// Where the file is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The names of all tensors, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.header.tensors.keys().map(String::as_str)
    }

    /// Whether there is a tensor `name`, of whatever dtype.
    pub fn contains(&self, name: &str) -> bool {
        self.header.tensors.contains_key(name)
    }

    /// The strings that the header carries about the file.
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.header.metadata
    }

    /// The tensor `name`; an error if it is missing or of a dtype that this program does not read.
    pub fn view(&self, name: &str) -> Result<TensorView<'_>> {
        let Some(entry) = self.header.tensors.get(name) else {
            return Err(Error::tensor(&self.path, name, "there is no such tensor in the file"));
        };
        match &entry.dtype {
            FileDType::Known(dtype) => Ok(TensorView {
                dtype: *dtype,
                shape: &entry.shape,
                bytes: &self.contents.bytes()[entry.start..entry.end],
            }),
            FileDType::Other(dtype) if dtype.starts_with("F8") => {
                Err(Error::tensor(&self.path, name, format!("fp8 weights are not supported yet ({dtype})"))
                    .hint("use the bf16 or fp16 file of the same model"))
            }
            FileDType::Other(dtype) => {
                Err(Error::tensor(&self.path, name, format!("the dtype {dtype} is not supported"))
                    .hint("use the bf16, fp16 or fp32 file of the same model"))
            }
        }
    }

    /// The whole file, header included.
    pub(super) fn bytes(&self) -> &[u8] {
        self.contents.bytes()
    }

    /// The names and places of all tensors, of whatever dtype, in the order of their data.
    pub(super) fn places(&self) -> Vec<(&str, std::ops::Range<usize>)> {
        let tensors = self.header.tensors.iter();
        let mut places: Vec<_> =
            tensors.map(|(name, entry)| (name.as_str(), entry.start..entry.end)).collect();
        places.sort_by_key(|(_, place)| place.start);
        places
    }

    /// The elements of the tensor `name`, converted to f32 whatever they are stored as, NaN and infinity included.
    pub fn read_f32(&self, name: &str) -> Result<Vec<f32>> {
        let view = self.view(name)?;
        let mut values = vec![0.0; view.bytes.len() / view.dtype.size()];
        convert::to_f32(view.dtype, view.bytes, &mut values);
        Ok(values)
    }

    /// The elements of the integer tensor `name`.
    pub fn read_i64(&self, name: &str) -> Result<Vec<i64>> {
        let view = self.view(name)?;
        convert::to_i64(view.dtype, view.bytes).ok_or_else(|| {
            Error::tensor(&self.path, name, format!("integers are needed, the file has {}", view.dtype))
        })
    }
}

impl Contents {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Mapped(map) => map,
            Self::Owned(bytes) => bytes,
        }
    }
}

impl fmt::Debug for TensorFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TensorFile({}, {} tensors)", self.path.display(), self.header.tensors.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use proptest::prelude::*;

    /// A file with the given JSON header and `data` zero bytes behind it.
    fn file(json: &str, data: usize) -> Vec<u8> {
        let mut bytes = (json.len() as u64).to_le_bytes().to_vec();
        bytes.extend(json.as_bytes());
        bytes.extend(vec![0; data]);
        bytes
    }

    fn open(bytes: Vec<u8>) -> Result<TensorFile> {
        TensorFile::from_bytes(Path::new("a.safetensors"), bytes)
    }

    const VALID: &str = concat!(
        r#"{"__metadata__":{"format":"pt"},"a":{"dtype":"BF16","shape":[2,3],"data_offsets":[0,12]},"#,
        r#""b":{"dtype":"F8_E4M3","shape":[4],"data_offsets":[12,16]},"c":{"dtype":"I64","shape":[],"data_offsets":[16,24]}}"#
    );

    fn assert_refused(bytes: Vec<u8>, cause: &str) {
        let error = open(bytes).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Weights);
        assert!(error.to_string().contains(cause), "{error} should say {cause}");
        assert!(!error.hint.is_empty() && !error.cause.contains('\n'), "{error}");
    }

    #[test]
    fn a_valid_file_shows_what_it_holds() {
        let file = open(file(VALID, 24)).unwrap();
        assert_eq!(file.names().collect::<Vec<_>>(), ["a", "b", "c"]);
        assert_eq!(file.metadata()["format"], "pt");
        let a = file.view("a").unwrap();
        assert_eq!((a.dtype, a.shape, a.bytes.len()), (DType::Bf16, &[2, 3][..], 12));
        assert_eq!(file.read_i64("c").unwrap(), [0]);
        assert!(file.read_i64("a").is_err());
    }

    #[test]
    fn an_unknown_dtype_is_an_error_only_when_used() {
        let error = open(file(VALID, 24)).unwrap().view("b").unwrap_err();
        assert!(error.to_string().contains("fp8 weights are not supported yet"), "{error}");
        assert!(error.place.contains("`b`"));
    }

    #[test]
    fn damaged_files_are_refused() {
        assert_refused(Vec::new(), "too few");
        assert_refused(b"garbage!garbage!".to_vec(), "not a safetensors file");
        assert_refused(file("{not json", 0), "cannot be read");
        assert_refused(file("[]", 0), "cannot be read");
        assert_refused(file(r#"{"a":{"dtype":"F32","shape":[1]}}"#, 4), "cannot be read");
        let mut longer = file(VALID, 24);
        longer[..8].copy_from_slice(&1000_u64.to_le_bytes());
        assert_refused(longer, "cut short");
    }

    #[test]
    fn ranges_must_lie_in_the_file_and_fit_the_shape() {
        let tensor = |shape: &str, range: &str| {
            file(&format!(r#"{{"a":{{"dtype":"F32","shape":{shape},"data_offsets":{range}}}}}"#), 16)
        };
        assert!(open(tensor("[4]", "[0,16]")).is_ok());
        assert_refused(tensor("[4]", "[4,20]"), "cut short");
        assert_refused(tensor("[4]", "[16,0]"), "cut short");
        assert_refused(tensor("[4]", "[0,18446744073709551615]"), "cut short");
        assert_refused(tensor("[3]", "[0,16]"), "does not fill");
        assert_refused(tensor("[4611686018427387904,4]", "[0,16]"), "does not fill");
        assert_refused(tensor("[-4]", "[0,16]"), "cannot be read");
    }

    #[test]
    fn a_name_may_occur_once() {
        let one = r#""a":{"dtype":"I8","shape":[1],"data_offsets":[0,1]}"#;
        assert_refused(file(&format!("{{{one},{one}}}"), 1), "`a` occurs twice");
    }

    #[test]
    fn truncation_at_any_length_is_refused() {
        let whole = file(VALID, 24);
        for length in 0..whole.len() {
            assert!(open(whole[..length].to_vec()).is_err(), "{length} of {} bytes", whole.len());
        }
    }

    #[test]
    fn missing_files_and_folders_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let missing = TensorFile::open(&folder.path().join("no.safetensors")).unwrap_err();
        assert!(missing.to_string().contains("no such file"), "{missing}");
        assert!(TensorFile::open(folder.path()).unwrap_err().to_string().contains("not a file"));
        let empty = folder.path().join("empty.safetensors");
        std::fs::write(&empty, []).unwrap();
        assert!(TensorFile::open(&empty).unwrap_err().to_string().contains("too few"));
    }

    proptest! {
        /// Whatever happens to the bytes of a valid file, the reader answers; what it accepts can be read.
        #[test]
        fn mutations_never_panic(changes in proptest::collection::vec((0..400_usize, any::<u8>()), 1..12), cut in 0..400_usize) {
            let mut bytes = file(VALID, 24);
            for (at, value) in changes {
                let length = bytes.len();
                bytes[at % length] = value;
            }
            bytes.truncate(cut.max(1));
            if let Ok(file) = open(bytes) {
                for name in file.names() {
                    let _ = file.read_f32(name);
                    let _ = file.read_i64(name);
                }
            }
        }
    }
}
