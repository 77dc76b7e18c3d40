//! Walks a folder for pictures, in an order that does not depend on the file system.

use crate::error::{Error, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Extensions of pictures that are read, in lower case.
const READ: [&str; 8] = ["png", "jpg", "jpeg", "webp", "bmp", "gif", "tif", "tiff"];

/// Extensions of pictures that are not read and therefore worth a remark.
const UNREAD: [&str; 8] = ["avif", "heic", "heif", "jxl", "jp2", "psd", "svg", "tga"];

/// The pictures of a folder, sorted by path.
pub struct Found {
    /// Paths of the pictures.
    pub pictures: Vec<PathBuf>,
    /// Remarks for the report.
    pub notes: Vec<String>,
}

/// Every picture in `folder` and the folders in it; names that begin with a dot are passed over.
///
/// # Errors
/// A folder that is missing or cannot be listed, or one without pictures.
pub fn pictures(folder: &Path) -> Result<Found> {
    if !folder.is_dir() {
        let cause = if folder.exists() { "is not a folder" } else { "no such folder" };
        return Err(Error::dataset(folder, cause).hint("`instance_data_dir` must name a folder of pictures"));
    }
    let files = files(folder)?;
    let mut notes = unread(folder, &files);
    let pictures: Vec<PathBuf> =
        files.into_iter().filter(|f| READ.contains(&extension(f).as_str())).collect();
    if pictures.is_empty() {
        return Err(Error::dataset(folder, "holds no pictures")
            .hint(format!("pictures are files that end in .{}", READ.join(", ."))));
    }
    notes.extend(shared_captions(&pictures));
    Ok(Found { pictures, notes })
}

/// Every file in `folder` and the folders in it, sorted; names that begin with a dot are passed over.
///
/// # Errors
/// A folder that cannot be listed.
pub fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    walk(folder, &mut BTreeSet::new(), &mut files)?;
    files.sort();
    Ok(files)
}

/// Collects the files under `folder`; a folder reached twice through links is walked once.
fn walk(folder: &Path, walked: &mut BTreeSet<PathBuf>, files: &mut Vec<PathBuf>) -> Result<()> {
    let real = folder.canonicalize().map_err(|e| Error::io(folder, &e))?;
    if !walked.insert(real) {
        return Ok(());
    }
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(|e| Error::io(folder, &e))? {
        let entry = entry.map_err(|e| Error::io(folder, &e))?;
        if !entry.file_name().as_encoded_bytes().starts_with(b".") {
            paths.push(entry.path());
        }
    }
    paths.sort();
    for path in paths {
        if path.is_dir() {
            walk(&path, walked, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}

/// The extension in lower case, empty if there is none.
fn extension(path: &Path) -> String {
    path.extension().map(|e| e.to_string_lossy().to_lowercase()).unwrap_or_default()
}

/// One remark per extension that looks like a picture but is not read.
fn unread(folder: &Path, files: &[PathBuf]) -> Vec<String> {
    let mut counts = BTreeMap::new();
    for extension in files.iter().map(|f| extension(f)).filter(|e| UNREAD.contains(&e.as_str())) {
        *counts.entry(extension).or_insert(0) += 1;
    }
    let remark = |(extension, count)| {
        format!("{}: {count} .{extension} files are left out, save them as PNG to use them", folder.display())
    };
    counts.into_iter().map(remark).collect()
}

/// One remark per group of pictures that differ only in their extension.
fn shared_captions(pictures: &[PathBuf]) -> Vec<String> {
    let mut stems: BTreeMap<PathBuf, Vec<String>> = BTreeMap::new();
    for picture in pictures {
        let name = picture.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        stems.entry(picture.with_extension("")).or_default().push(name);
    }
    let shared = stems.into_iter().filter(|(_, names)| names.len() > 1);
    shared
        .map(|(stem, names)| format!("{}: {} share one caption", stem.display(), names.join(", ")))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder_with(names: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for name in names {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        folder
    }

    fn names(folder: &Path) -> Vec<String> {
        let strip = |p: &PathBuf| p.strip_prefix(folder).unwrap().display().to_string();
        pictures(folder).unwrap().pictures.iter().map(strip).collect()
    }

    #[test]
    fn pictures_are_found_in_folders_sorted_and_in_any_case() {
        let folder = folder_with(&["b.PNG", "a.jpeg", "sub/c.WebP", "a.txt", "sub/deep/d.tif", "notes"]);
        assert_eq!(names(folder.path()), ["a.jpeg", "b.PNG", "sub/c.WebP", "sub/deep/d.tif"]);
    }

    #[test]
    fn hidden_files_and_folders_are_passed_over() {
        let folder = folder_with(&["a.png", ".b.png", ".cache/c.png"]);
        assert_eq!(names(folder.path()), ["a.png"]);
    }

    #[test]
    fn a_folder_that_links_to_itself_ends() {
        let folder = folder_with(&["a.png"]);
        std::os::unix::fs::symlink(folder.path(), folder.path().join("loop")).unwrap();
        assert_eq!(names(folder.path()), ["a.png"]);
    }

    #[test]
    fn what_is_odd_is_remarked_on() {
        let folder = folder_with(&["a.png", "a.jpg", "b.png", "c.avif", "d.AVIF"]);
        let notes = pictures(folder.path()).unwrap().notes;
        assert_eq!(notes.len(), 2, "{notes:?}");
        assert!(notes[0].contains("2 .avif files are left out"), "{notes:?}");
        assert!(notes[1].contains("a.jpg, a.png share one caption"), "{notes:?}");
    }

    #[test]
    fn a_folder_without_pictures_is_an_error() {
        let folder = folder_with(&["a.txt"]);
        let error = pictures(folder.path()).err().unwrap();
        assert_eq!(error.cause, "holds no pictures");
        let missing = pictures(&folder.path().join("nowhere")).err().unwrap();
        assert_eq!(missing.cause, "no such folder");
        let file = pictures(&folder.path().join("a.txt")).err().unwrap();
        assert_eq!(file.cause, "is not a folder");
    }
}
