//! Small pictures inside the page.

use crate::error::{Error, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use image::codecs::jpeg::JpegEncoder;
use serde::Serialize;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Longest side in pixels.
const LONGEST_SIDE: u32 = 320;
/// JPEG quality.
const QUALITY: u8 = 82;

/// A small picture as a data URI, and the size in which the page lays it out.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Thumbnail {
    /// `data:image/jpeg;base64,…`.
    pub thumbnail: String,
    /// Pixels from left to right.
    pub width: u32,
    /// Pixels from top to bottom.
    pub height: u32,
}

/// Thumbnails that were made already, by file and time of change.
#[derive(Debug, Default)]
pub struct Thumbnails {
    made: HashMap<PathBuf, (SystemTime, Thumbnail)>,
}

impl Thumbnails {
    /// The thumbnail of the picture at `path`; none if there is no such file.
    ///
    /// # Errors
    /// A file that is no picture.
    pub fn of(&mut self, path: &Path) -> Result<Option<Thumbnail>> {
        let Ok(changed) = std::fs::metadata(path).and_then(|about| about.modified()) else { return Ok(None) };
        if let Some((when, made)) = self.made.get(path)
            && *when == changed
        {
            return Ok(Some(made.clone()));
        }
        let made = make(path)?;
        self.made.insert(path.to_owned(), (changed, made.clone()));
        Ok(Some(made))
    }
}

fn make(path: &Path) -> Result<Thumbnail> {
    let unreadable = |e: image::ImageError| Error::dataset(path, format!("is no picture ({e})"));
    let reader = image::ImageReader::open(path).map_err(|e| Error::io(path, &e))?;
    let reader = reader.with_guessed_format().map_err(|e| Error::io(path, &e))?;
    let picture = reader.decode().map_err(unreadable)?;
    let small = match picture.width().max(picture.height()) {
        side if side > LONGEST_SIDE => picture.thumbnail(LONGEST_SIDE, LONGEST_SIDE),
        _ => picture,
    };
    let small = small.to_rgb8();
    let mut jpeg = Vec::new();
    JpegEncoder::new_with_quality(&mut jpeg, QUALITY).encode_image(&small).map_err(unreadable)?;
    let thumbnail = format!("data:image/jpeg;base64,{}", STANDARD.encode(jpeg));
    Ok(Thumbnail { thumbnail, width: small.width(), height: small.height() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::RgbImage;

    #[test]
    fn a_large_picture_becomes_small_and_keeps_its_shape() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.png");
        RgbImage::new(1024, 512).save(&path).unwrap();
        let mut thumbnails = Thumbnails::default();
        let made = thumbnails.of(&path).unwrap().unwrap();
        assert_eq!((made.width, made.height), (320, 160));
        let jpeg = STANDARD.decode(made.thumbnail.split(',').nth(1).unwrap()).unwrap();
        assert_eq!(image::load_from_memory(&jpeg).unwrap().width(), 320);
        assert_eq!(thumbnails.of(&folder.path().join("b.png")).unwrap(), None);
        std::fs::write(&path, "no picture").unwrap();
        assert!(thumbnails.of(&path).is_err());
    }
}
