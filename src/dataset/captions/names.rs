//! The pictures of a folder under the names by which a table may call them.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// How surely a name means a picture; a better one comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Match {
    /// Its path in the folder.
    Path,
    /// Its path without the extension.
    Stem,
    /// Its file name alone, which no other picture has.
    FileName,
}

/// See the module's documentation. A picture is known by its index.
#[derive(Debug)]
pub(super) struct Names {
    root: String,
    paths: HashMap<String, usize>,
    stems: HashMap<String, Vec<usize>>,
    files: HashMap<String, Vec<usize>>,
    file_stems: HashMap<String, Vec<usize>>,
}

impl Names {
    /// The names of `pictures`, all of which lie in `root`.
    pub fn new(root: &Path, pictures: &[PathBuf]) -> Self {
        let mut names = Self {
            root: slashed(&root.to_string_lossy()).trim_end_matches('/').to_owned(),
            paths: HashMap::new(),
            stems: HashMap::new(),
            files: HashMap::new(),
            file_stems: HashMap::new(),
        };
        for (index, picture) in pictures.iter().enumerate() {
            let path = relative(root, picture);
            let file = path.rsplit('/').next().unwrap_or_default().to_owned();
            names.stems.entry(without_extension(&path).to_owned()).or_default().push(index);
            names.file_stems.entry(without_extension(&file).to_owned()).or_default().push(index);
            names.files.entry(file).or_default().push(index);
            names.paths.insert(path, index);
        }
        names
    }

    /// The pictures that `written` means in a table that lies in the folder `base` below the root (empty: anywhere).
    /// With `extensions`, names without one mean nothing.
    pub fn find(&self, written: &str, base: &str, extensions: bool) -> Option<(Match, &[usize])> {
        let written = slashed(written.trim());
        let written = written.trim_start_matches("./");
        let inside = written.strip_prefix(&self.root).and_then(|rest| rest.strip_prefix('/'));
        let path = match (inside, base) {
            (Some(inside), _) => inside.to_owned(),
            (None, "") => written.to_owned(),
            (None, base) => format!("{base}/{written}"),
        };
        let file = path.rsplit('/').next().unwrap_or_default();
        let only = |found: &&Vec<usize>| found.len() == 1;
        if let Some(index) = self.paths.get(&path) {
            return Some((Match::Path, std::slice::from_ref(index)));
        }
        if let Some(found) = self.stems.get(&path).filter(|_| !extensions) {
            return Some((Match::Stem, found));
        }
        let with_extension = self.files.get(file).filter(only);
        let found =
            with_extension.or_else(|| self.file_stems.get(file).filter(only).filter(|_| !extensions))?;
        Some((Match::FileName, found))
    }
}

/// The path of `picture` below `root`, with slashes.
pub(super) fn relative(root: &Path, picture: &Path) -> String {
    slashed(&picture.strip_prefix(root).unwrap_or(picture).to_string_lossy())
}

/// `path` without its last extension.
pub(super) fn without_extension(path: &str) -> &str {
    match path.rsplit_once('.') {
        Some((stem, extension)) if !stem.is_empty() && !stem.ends_with('/') && !extension.contains('/') => {
            stem
        }
        _ => path,
    }
}

fn slashed(path: &str) -> String {
    path.replace('\\', "/")
}
