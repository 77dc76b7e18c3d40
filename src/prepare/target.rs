//! The folder that is written: where things lie in it, its lock, and what keeps other people's files safe.

use crate::dataset::content_hash;
use crate::error::{Error, ErrorKind, Result};
use crate::files;
use std::fs::{File, TryLockError};
use std::path::{Component, Path, PathBuf};

/// What the program keeps for itself; trainers pass over names that begin with a dot.
const OWN: &str = ".prepare";
/// How [`crate::files`] begins the names of unfinished files.
const UNFINISHED: &str = ".writing-";

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Target {
    folder: PathBuf,
    /// Held as long as the run lasts.
    _lock: File,
}

impl Target {
    /// Makes and locks the folder.
    ///
    /// # Errors
    /// A folder that cannot be made, or in which another run is at work.
    pub(super) fn open(folder: &Path) -> Result<Self> {
        let own = folder.join(OWN);
        std::fs::create_dir_all(&own).map_err(|e| Error::io(&own, &e))?;
        let lock = lock(folder, &own.join("lock"))?;
        let target = Self { folder: folder.to_owned(), _lock: lock };
        if target.journal().exists() {
            remove_unfinished(folder);
        }
        Ok(target)
    }

    /// A file by its name in the record.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// What was made, and how.
    pub(super) fn record(&self) -> PathBuf {
        record_in(&self.folder)
    }

    /// What a run that was interrupted has made.
    pub(super) fn journal(&self) -> PathBuf {
        self.folder.join(OWN).join("journal.jsonl")
    }

    /// The review sheet.
    pub(super) fn sheet(&self) -> PathBuf {
        self.folder.join("review.html")
    }

    /// The small picture of a source, for the review sheet. It has no extension, so that no trainer takes it for
    /// a picture.
    pub(super) fn thumbnail(&self, source: &str) -> PathBuf {
        let hash = content_hash(source.as_bytes());
        let (shelf, name) = hash.split_at(2);
        self.folder.join(OWN).join("thumbnails").join(shelf).join(&name[..22])
    }

    /// Moves a file that is no longer wanted to where trainers do not look; where it lies now.
    pub(super) fn set_aside(&self, name: &str) -> Result<PathBuf> {
        let from = self.path(name);
        let place = |number: usize| self.folder.join(OWN).join("aside").join(format!("{name}.{number}"));
        let to = (1..).map(place).find(|place| !place.exists()).unwrap_or_else(|| place(0));
        let folder = to.parent().unwrap_or(&self.folder);
        std::fs::create_dir_all(folder).map_err(|e| Error::io(folder, &e))?;
        std::fs::rename(&from, &to).map_err(|e| Error::io(&from, &e))?;
        Ok(to)
    }

    /// Writes `bytes` to the file `name` unless it holds them already. A file that is there must be one of which
    /// `is_ours` knows the hash; whether it was written.
    ///
    /// # Errors
    /// A file that somebody else has made or changed.
    pub(super) fn write(&self, name: &str, bytes: &[u8], is_ours: impl Fn(&str) -> bool) -> Result<bool> {
        let path = self.path(name);
        match std::fs::read(&path) {
            Ok(there) if there == bytes => return Ok(false),
            Ok(there) if there.is_empty() || is_ours(&content_hash(&there)) => {}
            Ok(_) => {
                return Err(Error::dataset(&path, NOT_OURS)
                    .hint("move it elsewhere and run again, or name another folder"));
            }
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
            Err(e) => return Err(Error::io(&path, &e)),
        }
        files::replace_bytes(&path, bytes)?;
        Ok(true)
    }
}

/// Why a file is not overwritten.
const NOT_OURS: &str = "was made or changed by someone else, so it is not overwritten";

/// The record in a prepared folder.
pub(super) fn record_in(folder: &Path) -> PathBuf {
    folder.join("prepare.json")
}

/// The user's wishes in a prepared folder.
pub(super) fn overrides_in(folder: &Path) -> PathBuf {
    folder.join("overrides.json")
}

/// Fails if writing to `target` could touch the originals in `source`, or mix the two.
pub(super) fn refuse_overlap(source: &Path, target: &Path) -> Result<()> {
    let refused = |cause: String| {
        Err(Error::new(ErrorKind::Usage, target.display().to_string(), cause)
            .hint("name a folder beside that of the originals"))
    };
    if target.exists() && !target.is_dir() {
        return refused("is not a folder".to_owned());
    }
    let (from, to) = (real(source)?, real(target)?);
    if from == to {
        refused("is the folder of the originals itself".to_owned())
    } else if to.starts_with(&from) {
        refused(format!("lies in the folder of the originals, {}", source.display()))
    } else if from.starts_with(&to) {
        refused(format!(
            "holds the folder of the originals, {}, which would be trained too",
            source.display()
        ))
    } else {
        Ok(())
    }
}

/// The path without links, also of a folder that is not there yet.
fn real(path: &Path) -> Result<PathBuf> {
    let absolute = std::path::absolute(path).map_err(|e| Error::io(path, &e))?;
    let mut real = PathBuf::new();
    for component in absolute.components() {
        match component {
            Component::ParentDir => {
                real.pop();
            }
            part => real.push(part),
        }
        if let Ok(resolved) = real.canonicalize() {
            real = resolved;
        }
    }
    Ok(real)
}

/// Locks the folder until the file is closed, which the system does even for a process that is killed.
fn lock(folder: &Path, path: &Path) -> Result<File> {
    let mut options = File::options();
    let file =
        options.write(true).create(true).truncate(false).open(path).map_err(|e| Error::io(path, &e))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Error::new(
            ErrorKind::Files,
            folder.display().to_string(),
            "another `prepare` is at work here",
        )
        .hint("wait for it to end")),
        Err(TryLockError::Error(e)) => Err(Error::io(path, &e)),
    }
}

/// Removes what an interrupted write has left; a file that cannot be removed does no harm.
fn remove_unfinished(folder: &Path) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_unfinished(&path);
        } else if entry.file_name().to_string_lossy().starts_with(UNFINISHED) {
            let _ = std::fs::remove_file(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_that_hold_each_other_are_refused() {
        let root = tempfile::tempdir().unwrap();
        let source = root.path().join("source");
        std::fs::create_dir(&source).unwrap();
        std::os::unix::fs::symlink(&source, root.path().join("link")).unwrap();
        for (target, part) in [
            ("source", "originals itself"),
            ("source/crops", "lies in"),
            ("link/a/b", "lies in"),
            ("other/../source/crops", "lies in"),
            ("", "holds"),
        ] {
            let error = refuse_overlap(&source, &root.path().join(target)).unwrap_err();
            assert!(error.cause.contains(part), "{target}: {error}");
        }
        assert!(refuse_overlap(&source, &root.path().join("sources")).is_ok());
        assert!(refuse_overlap(&source, &root.path().join("other/crops")).is_ok());
    }

    #[test]
    fn what_others_have_written_stays() {
        let root = tempfile::tempdir().unwrap();
        let target = Target::open(root.path()).unwrap();
        assert!(target.write("sub/a", b"1", |_| false).unwrap());
        assert!(!target.write("sub/a", b"1", |_| false).unwrap(), "nothing to write");
        assert_eq!(target.write("sub/a", b"2", |_| false).unwrap_err().cause, NOT_OURS);
        assert_eq!(std::fs::read(root.path().join("sub/a")).unwrap(), b"1");
        assert!(target.write("sub/a", b"2", |hash| hash == content_hash(b"1")).unwrap());
        assert_eq!(std::fs::read(root.path().join("sub/a")).unwrap(), b"2");
    }

    #[test]
    fn files_are_set_aside_one_beside_the_other() {
        let root = tempfile::tempdir().unwrap();
        let target = Target::open(root.path()).unwrap();
        for content in ["1", "2"] {
            std::fs::write(root.path().join("a.png"), content).unwrap();
            let place = target.set_aside("a.png").unwrap();
            assert_eq!(std::fs::read_to_string(place).unwrap(), content);
        }
        assert!(!root.path().join("a.png").exists());
    }

    #[test]
    fn two_runs_in_one_folder_are_refused() {
        let root = tempfile::tempdir().unwrap();
        let _first = Target::open(root.path()).unwrap();
        assert!(Target::open(root.path()).unwrap_err().cause.contains("at work"));
    }
}
