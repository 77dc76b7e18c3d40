//! A folder of entries of one kind.

use super::entry::{self, Entry};
use super::key::Key;
use crate::error::{Error, Result};
use crate::files;
use crate::weights::TensorFile;
use std::collections::HashSet;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// Entries of one kind in one folder. All methods may be called from several threads.
#[derive(Debug)]
pub struct Shelf<E> {
    folder: PathBuf,
    hits: AtomicUsize,
    misses: AtomicUsize,
    notes: Mutex<Vec<String>>,
    entry: PhantomData<fn() -> E>,
}

impl<E: Entry> Shelf<E> {
    /// The entries in `folder`, which need not exist.
    pub fn new(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
            hits: AtomicUsize::new(0),
            misses: AtomicUsize::new(0),
            notes: Mutex::default(),
            entry: PhantomData,
        }
    }

    /// The entry under `key`; `None` if there is none, or none that can be read, which is noted and removed.
    pub fn get(&self, key: &E::Key) -> Option<E> {
        let found = self.read(&key.digest());
        let counter = if found.is_some() { &self.hits } else { &self.misses };
        counter.fetch_add(1, Ordering::Relaxed);
        found
    }

    /// Whether there is an entry under `key` that is not cut short; its values are not read and nothing is counted.
    pub fn contains(&self, key: &E::Key) -> bool {
        TensorFile::open(&self.path(&key.digest())).is_ok()
    }

    /// Keeps `entry` under `key`, in place of what was there.
    ///
    /// # Errors
    /// A folder that cannot be written to, or tensors whose data do not fill their shapes.
    pub fn put(&self, key: &E::Key, entry: &E) -> Result<()> {
        let digest = key.digest();
        entry::write(&self.path(&digest), entry, &digest)
    }

    /// Forgets every entry but those under `keys`, and what interrupted writes left. Other files stay. Nobody else may
    /// be writing to the folder.
    ///
    /// # Errors
    /// A folder that cannot be read, an entry that cannot be removed.
    pub fn keep_only<'k>(&self, keys: impl IntoIterator<Item = &'k E::Key>) -> Result<()>
    where
        E::Key: 'k,
    {
        let kept: HashSet<PathBuf> = keys.into_iter().map(|key| self.path(&key.digest())).collect();
        for folder in entries(&self.folder)?.into_iter().filter(|path| path.is_dir()) {
            for path in entries(&folder)?.into_iter().filter(|path| !kept.contains(path)) {
                if self.is_entry(&path) || files::is_unfinished(&path) {
                    std::fs::remove_file(&path).map_err(|e| Error::io(&path, &e))?;
                }
            }
            // Fails where something is left.
            let _ = std::fs::remove_dir(&folder);
        }
        let _ = std::fs::remove_dir(&self.folder);
        Ok(())
    }

    /// How many calls of [`Shelf::get`] found their entry.
    pub fn hits(&self) -> usize {
        self.hits.load(Ordering::Relaxed)
    }

    /// How many calls of [`Shelf::get`] did not.
    pub fn misses(&self) -> usize {
        self.misses.load(Ordering::Relaxed)
    }

    /// Entries that could not be read and must be made again, one line each.
    pub fn notes(&self) -> Vec<String> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Where the entry with `digest` lies: folders by the first two digits keep listings short.
    fn path(&self, digest: &str) -> PathBuf {
        self.folder.join(&digest[..2]).join(format!("{digest}.safetensors"))
    }

    /// Whether `path` is named as an entry is.
    fn is_entry(&self, path: &Path) -> bool {
        let digest = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        digest.len() == 64 && digest.bytes().all(|b| b.is_ascii_hexdigit()) && self.path(digest) == path
    }

    /// The entry with `digest`, if it is there and whole.
    fn read(&self, digest: &str) -> Option<E> {
        let path = self.path(digest);
        let file = match std::fs::read(&path) {
            Ok(bytes) => TensorFile::from_bytes(&path, bytes),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return None,
            Err(e) => Err(Error::io(&path, &e)),
        };
        let cause = match file.and_then(|file| entry::read(&file, digest)) {
            Ok(entry) => return Some(entry),
            Err(error) => error.cause,
        };
        // Out of the way, so that it counts as missing when entries are made.
        let _ = std::fs::remove_file(&path);
        let note = format!("{}: damaged cache entry is made again ({cause})", path.display());
        self.notes.lock().unwrap_or_else(PoisonError::into_inner).push(note);
        None
    }
}

/// What lies in `folder`; nothing if there is no such folder.
fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let listed = match std::fs::read_dir(folder) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        listed => listed.map_err(|e| Error::io(folder, &e))?,
    };
    let path =
        |entry: std::io::Result<std::fs::DirEntry>| Ok(entry.map_err(|e| Error::io(folder, &e))?.path());
    listed.map(path).collect()
}
