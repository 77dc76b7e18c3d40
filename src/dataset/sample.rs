//! One picture with its captions, as training sees it.

use super::crop::{Crop, Pixels, resample};
use super::{Bucket, Captions, Source, bucket_for, picture};
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
    pub(super) fn read(
        path: &Path,
        source: &Source,
        captions: &Captions,
        buckets: &[Bucket],
        check_pixels: bool,
    ) -> Result<Self> {
        let bytes = picture::read(path)?;
        let size = picture::size(path, &bytes)?;
        if check_pixels {
            picture::decode(path, &bytes)?;
        }
        let captions = captions.of(path)?;
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
        let upright = picture::decode(&self.path, &bytes)?;
        let picture = resample(&upright, &self.crop, self.bucket)
            .map_err(|e| Error::dataset(&self.path, format!("cannot be scaled to {}: {e}", self.bucket)))?;
        Ok(Pixels::from_rgb(&picture))
    }

    /// Bucket pixels per picture pixel; above 1 the picture is enlarged.
    pub fn scale(&self) -> f64 {
        self.bucket.width as f64 / self.crop.width
    }
}

/// SHA-256 in hexadecimal.
fn content_hash(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
