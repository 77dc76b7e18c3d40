//! A safetensors file with the same header and some tensors replaced, one in memory at a time.

use super::mapped::TensorFile;
use crate::error::{Error, Result};
use crate::files;
use std::path::Path;

/// Writes `file` to `path`, whole or not at all, with `replace`'s bytes for the tensors that it gives some for.
///
/// # Errors
/// What `replace` says; bytes of another length than the tensor's; what the disk says.
pub fn rewrite(
    file: &TensorFile,
    path: &Path,
    mut replace: impl FnMut(&str) -> Result<Option<Vec<u8>>>,
) -> Result<()> {
    let bytes = file.bytes();
    let mut failed = None;
    let written = files::replace(path, |out| {
        let mut done = 0;
        for (name, place) in file.places() {
            // A file may share or skip bytes; what is not a tensor's stays as it is.
            if place.start < done {
                continue;
            }
            out.write_all(&bytes[done..place.start])?;
            done = place.end;
            match replace(name) {
                Ok(None) => out.write_all(&bytes[place])?,
                Ok(Some(changed)) if changed.len() == place.len() => out.write_all(&changed)?,
                Ok(Some(changed)) => {
                    let cause = format!("{} bytes do not replace {}", changed.len(), place.len());
                    failed = Some(Error::tensor(file.path(), name, cause));
                }
                Err(error) => failed = Some(error),
            }
            if failed.is_some() {
                return Err(std::io::Error::other("a tensor could not be made"));
            }
        }
        out.write_all(&bytes[done..])
    });
    match failed {
        Some(error) => Err(error),
        None => written,
    }
}

#[cfg(test)]
mod tests {
    use super::super::{TensorBytes, write_tensors};
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn only_the_tensors_asked_for_change() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("a.safetensors"), folder.path().join("b.safetensors"));
        let tensors = [TensorBytes::f32("a", [2], &[1.0, 2.0]), TensorBytes::bf16("b", [1], &[3.0])];
        write_tensors(&from, &tensors, &BTreeMap::from([("format".into(), "pt".into())])).unwrap();
        let file = TensorFile::open(&from).unwrap();
        rewrite(&file, &to, |name| Ok((name == "a").then(|| bytemuck::cast_slice(&[5.0_f32, 6.0]).to_vec())))
            .unwrap();
        let written = TensorFile::open(&to).unwrap();
        assert_eq!(written.metadata(), file.metadata());
        assert_eq!(written.read_f32("a").unwrap(), [5.0, 6.0]);
        assert_eq!(written.read_f32("b").unwrap(), [3.0]);
    }

    #[test]
    fn an_error_leaves_no_file() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("a.safetensors"), folder.path().join("b.safetensors"));
        write_tensors(&from, &[TensorBytes::f32("a", [1], &[1.0])], &BTreeMap::new()).unwrap();
        let file = TensorFile::open(&from).unwrap();
        assert!(rewrite(&file, &to, |_| Ok(Some(vec![0; 3]))).unwrap_err().place.contains("`a`"));
        assert!(rewrite(&file, &to, |_| Err(Error::usage("no"))).is_err());
        assert!(!to.exists());
    }
}
