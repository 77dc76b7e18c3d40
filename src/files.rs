//! Files that are whole or absent: written under a temporary name in the same folder, then renamed.

use crate::error::{Error, Result};
use std::io::Write;
use std::path::Path;

/// Replaces `path` by what `write` produces, or leaves it as it was.
///
/// The bytes reach the disk before the name does, so a crash leaves the old file or the new one.
pub fn replace(path: &Path, write: impl FnOnce(&mut dyn Write) -> std::io::Result<()>) -> Result<()> {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).map_err(|e| Error::io(folder, &e))?;
    let at = |e: &std::io::Error| Error::io(path, e);
    let mut file = tempfile::Builder::new()
        .prefix(".writing-")
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
    let folder = path.ancestors().find(|folder| folder.is_dir()).unwrap_or(Path::new("."));
    tempfile::tempfile_in(folder).map(drop)
}

/// Free bytes on the disk that holds `folder` (or its nearest existing parent).
pub fn free_space(folder: &Path) -> Result<u64> {
    let existing = folder.ancestors().find(|p| p.exists()).unwrap_or(Path::new("."));
    fs4::available_space(existing).map_err(|e| Error::io(existing, &e))
}

/// Temporary files are private by default; what we publish is an ordinary file.
fn readable_by_all() -> std::fs::Permissions {
    use std::os::unix::fs::PermissionsExt;
    std::fs::Permissions::from_mode(0o644)
}
