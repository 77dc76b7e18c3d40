//! Files that are whole or absent: written under a temporary name in the same folder, then renamed.

use crate::error::{Error, Result};
use std::io::Write;
use std::path::Path;

/// How the names of files begin that are being written.
const UNFINISHED: &str = ".writing-";

/// Whether `path` is what an interrupted write left, or one that is going on.
pub fn is_unfinished(path: &Path) -> bool {
    path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with(UNFINISHED))
}

/// Replaces `path` by what `write` produces, or leaves it as it was.
///
/// The bytes reach the disk before the name does, so a crash leaves the old file or the new one.
pub fn replace(path: &Path, write: impl FnOnce(&mut dyn Write) -> std::io::Result<()>) -> Result<()> {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).map_err(|e| Error::io(folder, &e))?;
    let at = |e: &std::io::Error| Error::io(path, e);
    let mut file = tempfile::Builder::new()
        .prefix(UNFINISHED)
        .permissions(readable_by_all())
        .tempfile_in(folder)
        .map_err(|e| at(&e))?;
    let mut buffered = std::io::BufWriter::new(file.as_file_mut());
    write(&mut buffered).and_then(|()| buffered.flush()).map_err(|e| at(&e))?;
    drop(buffered);
    file.as_file().sync_all().map_err(|e| at(&e))?;
    file.persist(path).map_err(|e| at(&e.error))?;
    Ok(())
}

/// [`replace`] with bytes at hand.
pub fn replace_bytes(path: &Path, bytes: &[u8]) -> Result<()> {
    replace(path, |out| out.write_all(bytes))
}

/// Whether `path` could be written: a file could be made in the nearest folder above it, or in it if it is one.
pub fn is_writable(path: &Path) -> std::io::Result<()> {
    tempfile::tempfile_in(nearest_existing(path)).map(drop)
}

/// Free bytes on the disk that holds `folder`.
pub fn free_space(folder: &Path) -> Result<u64> {
    let existing = nearest_existing(folder);
    fs4::available_space(existing).map_err(|e| Error::io(existing, &e))
}

/// A number that tells the disk that holds `folder` from others.
pub fn disk_of(folder: &Path) -> Result<u64> {
    use std::os::unix::fs::MetadataExt;
    let existing = nearest_existing(folder);
    existing.metadata().map(|about| about.dev()).map_err(|e| Error::io(existing, &e))
}

/// Bytes of all files in `folder` and the folders in it; none if it does not exist.
pub fn bytes_in(folder: &Path) -> Result<u64> {
    if !folder.is_dir() {
        return Ok(0);
    }
    let at = |e: std::io::Error| Error::io(folder, &e);
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder).map_err(at)? {
        let entry = entry.map_err(at)?;
        match entry.metadata() {
            Ok(about) if about.is_dir() => bytes += bytes_in(&entry.path())?,
            Ok(about) => bytes += about.len(),
            // Somebody has removed it meanwhile.
            Err(_) => {}
        }
    }
    Ok(bytes)
}

/// `folder`, or the nearest folder above it that exists.
fn nearest_existing(folder: &Path) -> &Path {
    folder.ancestors().find(|folder| folder.is_dir()).unwrap_or(Path::new("."))
}

/// Temporary files are private by default; what we publish is an ordinary file.
fn readable_by_all() -> std::fs::Permissions {
    use std::os::unix::fs::PermissionsExt;
    std::fs::Permissions::from_mode(0o644)
}
