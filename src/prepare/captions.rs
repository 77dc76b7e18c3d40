//! Captions beside pictures, copied byte for byte.

use super::record::Written;
use super::sources::Source;
use super::target::Target;
use crate::dataset::content_hash;
use crate::error::{Error, ErrorKind, Result};
use std::path::Path;

/// The extensions of caption files.
const EXTENSIONS: [&str; 2] = ["txt", "caption"];

/// The captions of one picture after copying.
pub(super) struct Copied {
    /// What stands in the target folder and is the program's.
    pub files: Vec<Written>,
    /// How many were written.
    pub written: usize,
    /// Remarks for the report.
    pub notes: Vec<String>,
}

/// Copies the captions of `source` that have changed since `before`. A caption that the user has changed in the
/// target folder stays, with a remark if that of the source has changed too.
///
/// # Errors
/// A caption that cannot be read or written.
pub(super) fn copy(source: &Source, before: &[Written], target: &Target) -> Result<Copied> {
    let mut copied = Copied { files: Vec::new(), written: 0, notes: Vec::new() };
    for extension in EXTENSIONS {
        let from = source.path.with_extension(extension);
        let name = Path::new(&source.file).with_extension(extension).display().to_string();
        let earlier = before.iter().find(|written| written.file == name);
        let bytes = match std::fs::read(&from) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                copied.keep_without_source(earlier, &from);
                continue;
            }
            Err(e) => return Err(Error { kind: ErrorKind::Dataset, ..Error::io(&from, &e) }),
        };
        let now = Written {
            file: name,
            bytes: bytes.len() as u64,
            sha256: content_hash(&bytes),
            before: earlier.map(|written| written.sha256.clone()),
        };
        copied.bring(now, &bytes, earlier, target)?;
    }
    Ok(copied)
}

impl Copied {
    /// A caption whose source is gone stays.
    fn keep_without_source(&mut self, earlier: Option<&Written>, from: &Path) {
        if let Some(earlier) = earlier {
            self.notes.push(format!("{} is gone; {} stays as it is", from.display(), earlier.file));
            self.files.push(earlier.clone());
        }
    }

    fn bring(
        &mut self,
        now: Written,
        bytes: &[u8],
        earlier: Option<&Written>,
        target: &Target,
    ) -> Result<()> {
        let path = target.path(&now.file);
        if earlier.is_some_and(|earlier| earlier.sha256 == now.sha256) && path.exists() {
            self.files.extend(earlier.cloned());
            return Ok(());
        }
        match target.write(&now.file, bytes, |hash| earlier.is_some_and(|earlier| earlier.is(hash))) {
            Ok(written) => {
                self.written += usize::from(written);
                self.files.push(now);
            }
            Err(_) if path.is_file() => {
                self.notes.push(format!(
                    "{} was changed by hand and stays, though its source has changed; remove it to take that",
                    path.display()
                ));
                self.files.extend(earlier.cloned());
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }
}
