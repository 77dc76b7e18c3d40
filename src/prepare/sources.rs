//! The pictures of the source folder, and which file each becomes.

use super::options::Format;
use crate::dataset::scan;
use crate::error::{Error, ErrorKind, Result};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

/// One picture to prepare.
#[derive(Debug, Clone)]
pub(super) struct Source {
    /// Its path from the source folder, with slashes; the record and the overrides name it so.
    pub name: String,
    /// Where it lies.
    pub path: PathBuf,
    /// The file that it becomes, from the target folder.
    pub file: String,
    /// Bytes of the file.
    pub bytes: u64,
    /// When it was last changed, in nanoseconds since 1970.
    pub modified: u64,
}

/// What there is to prepare.
pub(super) struct Sources {
    /// Sorted by name.
    pub pictures: Vec<Source>,
    /// Pictures that cannot be prepared because of their names.
    pub left_out: Vec<Error>,
    /// Remarks for the report.
    pub notes: Vec<String>,
}

/// Lists the pictures in `folder`; each becomes a file of `format` under the same name.
///
/// # Errors
/// A folder that is missing, cannot be listed, or holds no pictures.
pub(super) fn list(folder: &Path, format: Format) -> Result<Sources> {
    let found = scan::pictures(folder).map_err(|e| e.hint("name a folder of pictures"))?;
    let mut sources = Sources { pictures: Vec::new(), left_out: Vec::new(), notes: found.notes };
    // Two pictures of one name are not a remark here but a mistake, told with both names below.
    sources.notes.retain(|note| !note.ends_with("share one caption"));
    let mut by_file: BTreeMap<String, Vec<Source>> = BTreeMap::new();
    for path in found.pictures {
        match source(folder, &path, format) {
            Ok(source) => by_file.entry(source.file.clone()).or_default().push(source),
            Err(error) => sources.left_out.push(error),
        }
    }
    for (file, pictures) in by_file {
        if pictures.len() > 1 {
            sources.left_out.extend(collisions(&file, &pictures));
        } else {
            sources.pictures.extend(pictures);
        }
    }
    sources.pictures.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(sources)
}

fn source(folder: &Path, path: &Path, format: Format) -> Result<Source> {
    let about = path.metadata().map_err(|e| Error { kind: ErrorKind::Dataset, ..Error::io(path, &e) })?;
    let name = path.strip_prefix(folder).unwrap_or(path);
    let file = name.with_extension(format.extension());
    let [Some(name), Some(file)] = [name.to_str(), file.to_str()] else {
        return Err(Error::dataset(path, "has a name that is not UTF-8").hint("rename it"));
    };
    let modified = about.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    Ok(Source {
        name: name.to_owned(),
        path: path.to_owned(),
        file: file.to_owned(),
        bytes: about.len(),
        modified: modified.map_or(0, |time| time.as_nanos() as u64),
    })
}

/// One error per picture that would become the same file as another.
fn collisions(file: &str, pictures: &[Source]) -> Vec<Error> {
    let complaint = |one: &Source| {
        let others: Vec<&str> =
            pictures.iter().filter(|other| other.name != one.name).map(|other| other.name.as_str()).collect();
        Error::dataset(&one.path, format!("would become {file}, and so would {}", others.join(", ")))
            .hint("rename one of them, with its caption")
    };
    pictures.iter().map(complaint).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(names: &[&str], format: Format) -> Sources {
        let folder = tempfile::tempdir().unwrap();
        for name in names {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "x").unwrap();
        }
        list(folder.path(), format).unwrap()
    }

    #[test]
    fn pictures_keep_their_folders_and_stems() {
        let sources = listed(&["b.v2.JPG", "sub/a.png", "sub/a.txt"], Format::Png);
        let files: Vec<_> = sources.pictures.iter().map(|s| (s.name.as_str(), s.file.as_str())).collect();
        assert_eq!(files, [("b.v2.JPG", "b.v2.png"), ("sub/a.png", "sub/a.png")]);
        assert!(sources.left_out.is_empty());
        assert_eq!(sources.pictures[0].bytes, 1);
        assert!(sources.pictures[0].modified > 0);
    }

    #[test]
    fn pictures_that_would_become_one_file_are_both_left_out_and_named() {
        let sources = listed(&["a.png", "a.jpg", "b.jpg", "sub/a.webp"], Format::Jpeg(90));
        let kept: Vec<_> = sources.pictures.iter().map(|s| s.name.as_str()).collect();
        assert_eq!(kept, ["b.jpg", "sub/a.webp"]);
        let causes: Vec<_> = sources.left_out.iter().map(|e| e.cause.as_str()).collect();
        assert_eq!(
            causes,
            ["would become a.jpg, and so would a.png", "would become a.jpg, and so would a.jpg"]
        );
        assert!(sources.notes.is_empty());
    }
}
