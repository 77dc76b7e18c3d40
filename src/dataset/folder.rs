//! What lies in a folder of pictures, before anybody has said how to read it.

use super::captions::TextFile;
use super::{picture, scan};
use crate::error::Result;
use rayon::prelude::*;
use std::path::{Path, PathBuf};

/// A picture that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundPicture {
    /// Where it lies.
    pub path: PathBuf,
    /// Width and height of the upright picture in pixels.
    pub size: (u32, u32),
    /// What its caption's file says, empty if nothing; none without such a file.
    pub caption: Option<String>,
}

/// The pictures in `folder` and the folders in it, in the order of their paths, and remarks on what is left out.
///
/// # Errors
/// A folder that is missing or holds no pictures, a picture whose header is broken, a caption that cannot be read.
pub fn pictures_in(folder: &Path) -> Result<(Vec<FoundPicture>, Vec<String>)> {
    let found = scan::pictures(folder)?;
    let pictures = found.pictures.par_iter().map(|path| look_at(path)).collect::<Result<_>>()?;
    Ok((pictures, found.notes))
}

/// Whether there is a picture in `folder` or the folders in it.
pub fn has_pictures(folder: &Path) -> bool {
    scan::pictures(folder).is_ok()
}

fn look_at(path: &Path) -> Result<FoundPicture> {
    let size = picture::size(path, &picture::read(path)?)?;
    let caption = TextFile::beside(path, None)?.map(|file| file.text.trim().to_owned());
    Ok(FoundPicture { path: path.to_owned(), size, caption })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_captions_are_told_and_missing_captions_too() {
        let folder = tempfile::tempdir().unwrap();
        let picture = |name: &str, width| {
            image::RgbImage::new(width, 10).save(folder.path().join(name)).unwrap();
        };
        picture("a.png", 20);
        picture("b.png", 30);
        std::fs::write(folder.path().join("b.txt"), "\u{feff}a cat\n").unwrap();
        std::fs::write(folder.path().join("c.heic"), "").unwrap();
        let (pictures, notes) = pictures_in(folder.path()).unwrap();
        let told: Vec<_> = pictures.iter().map(|p| (p.size, p.caption.as_deref())).collect();
        assert_eq!(told, [((20, 10), None), ((30, 10), Some("a cat"))]);
        assert_eq!(notes.len(), 1);
    }

    #[test]
    fn broken_pictures_and_folders_without_any_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        assert!(pictures_in(folder.path()).unwrap_err().cause.contains("no pictures"));
        std::fs::write(folder.path().join("a.png"), "no picture").unwrap();
        assert!(pictures_in(folder.path()).unwrap_err().place.ends_with("a.png"));
    }
}
