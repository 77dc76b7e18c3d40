//! One picture with its captions, as training sees it.

use super::crop::{Crop, Filter, Pixels, resample};
use super::picture::{self, Reading};
use super::{Bucket, Source, bucket_for};
use crate::error::{Error, Result};
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};

/// A picture that is fit for training.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// Where the picture lies.
    pub path: PathBuf,
    /// SHA-256 of the file, in hexadecimal.
    pub content_hash: String,
    /// Width and height of the upright picture in pixels.
    pub size: (u32, u32),
    /// The size at which it is trained.
    pub bucket: Bucket,
    /// The part of the picture that fills the bucket.
    pub crop: Crop,
    /// The caption's variants, at least one.
    pub captions: Vec<String>,
    /// How often an epoch shows it.
    pub passes: usize,
}

impl Sample {
    /// Reads and checks the picture at `path` and its caption.
    ///
    /// # Errors
    /// A picture or caption that cannot be used; with `check_pixels` the last pixel has been decoded.
    pub(super) fn read(path: &Path, source: &Source, buckets: &[Bucket], check_pixels: bool) -> Result<Self> {
        let (bytes, size) = checked(path, check_pixels).map_err(or_leave_out)?;
        let captions = source.captions.captions(path, source.prepend.as_deref())?;
        let bucket = bucket_for(size.0 as usize, size.1 as usize, buckets)
            .ok_or_else(|| Error::setting("resolution", "gives no bucket"))?;
        Ok(Self {
            path: path.to_owned(),
            content_hash: content_hash(&bytes),
            size,
            bucket,
            crop: Crop::centred(size.0, size.1, bucket),
            captions,
            passes: source.passes,
        })
    }

    /// The picture at the size of its bucket.
    ///
    /// # Errors
    /// A file that can no longer be read, or that is another one than when the dataset was opened.
    pub fn load_pixels(&self) -> Result<Pixels> {
        let bytes = picture::read(&self.path)?;
        if content_hash(&bytes) != self.content_hash {
            return Err(Error::dataset(&self.path, "has changed since the dataset was read")
                .hint("start again when the pictures are complete"));
        }
        let upright = picture::decode(&self.path, &bytes, &Reading::default())?;
        let picture = resample(&upright, &self.crop, self.bucket, Filter::Lanczos)
            .map_err(|e| Error::dataset(&self.path, format!("cannot be scaled to {}: {e}", self.bucket)))?;
        Ok(Pixels::from_rgb(&picture))
    }

    /// Bucket pixels per picture pixel; above 1 the picture is enlarged.
    pub fn scale(&self) -> f64 {
        self.bucket.width as f64 / self.crop.width
    }
}

/// The file's bytes and the size of the upright picture, of one that can be read.
fn checked(path: &Path, to_the_last_pixel: bool) -> Result<(Vec<u8>, (u32, u32))> {
    let bytes = picture::read(path)?;
    let size = picture::size(path, &bytes)?;
    if to_the_last_pixel {
        picture::decode(path, &bytes, &Reading::default())?;
    }
    Ok((bytes, size))
}

/// Names the setting that also cures it.
fn or_leave_out(error: Error) -> Error {
    let hint = format!("{}, or set skip_broken_images=true to leave it out", error.hint);
    error.hint(hint)
}

/// SHA-256 in hexadecimal.
pub fn content_hash(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
