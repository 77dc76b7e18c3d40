//! One picture with its captions, as training sees it.

use super::crop::Pixels;
use super::picture_draw::PictureDraw;
use super::view::View;
use super::{Bucket, Captions, Source, Wording, picture};
use crate::error::{Error, Result};
use image::RgbImage;
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use std::sync::Arc;

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
    /// The forms in which it is shown, at least one.
    pub views: Vec<View>,
    /// The caption's variants, at least one.
    pub captions: Vec<String>,
    /// How they change from one appearance to the next.
    pub wording: Arc<Wording>,
    /// The place of its data set in the list.
    pub source: usize,
    /// Whether it is held out of training.
    pub held_out: bool,
}

/// How the pictures of one data set are read.
pub(super) struct Reading<'a> {
    /// The data set.
    pub source: &'a Source,
    /// Its place in the list.
    pub index: usize,
    /// Where captions are looked up.
    pub captions: &'a Captions<'a>,
    /// Its buckets.
    pub buckets: &'a [Bucket],
    /// The run's seed.
    pub seed: u64,
    /// Whether every pixel is decoded.
    pub check_pixels: bool,
}

impl Sample {
    /// Reads and checks the picture at `path` and its caption.
    ///
    /// # Errors
    /// A picture or caption that cannot be used; with `check_pixels` the last pixel has been decoded.
    pub(super) fn read(path: &Path, reading: &Reading<'_>) -> Result<Self> {
        let source = reading.source;
        let (bytes, size) = checked(path, reading.check_pixels).map_err(or_leave_out)?;
        let captions = reading.captions.of(path)?;
        let content_hash = content_hash(&bytes);
        let draw = PictureDraw::new(reading.seed, &content_hash);
        let framing = &source.framing;
        let bucket = framing
            .bucket(size, reading.buckets, draw)
            .ok_or_else(|| Error::setting("resolution", "gives no bucket"))?;
        let views = View::all(size, bucket, framing, &source.augmentation, draw);
        Ok(Self {
            path: path.to_owned(),
            content_hash,
            size,
            bucket,
            views,
            captions,
            wording: source.wording.clone(),
            source: reading.index,
            held_out: false,
        })
    }

    /// Its first caption without chance: for comparisons that must not depend on the step.
    pub fn plain_caption(&self) -> String {
        self.captions.first().map(|caption| self.wording.plain(caption)).unwrap_or_default()
    }

    /// The upright picture.
    ///
    /// # Errors
    /// A file that can no longer be read, or that is another one than when the dataset was opened.
    pub fn load(&self) -> Result<RgbImage> {
        let bytes = picture::read(&self.path)?;
        if content_hash(&bytes) != self.content_hash {
            return Err(Error::dataset(&self.path, "has changed since the dataset was read")
                .hint("start again when the pictures are complete"));
        }
        picture::decode(&self.path, &bytes, &picture::Reading::default())
    }

    /// `view` of the `picture` that [`load`](Self::load) gave, at the size of the bucket.
    ///
    /// # Errors
    /// A view that does not lie in the picture.
    pub fn pixels(&self, picture: &RgbImage, view: &View) -> Result<Pixels> {
        let shown = view
            .render(picture, self.bucket)
            .map_err(|e| Error::dataset(&self.path, format!("cannot be scaled to {}: {e}", self.bucket)))?;
        Ok(Pixels::from_rgb(&shown))
    }

    /// Bucket pixels per picture pixel in the view that enlarges it most; above 1 the picture is enlarged.
    pub fn scale(&self) -> f64 {
        self.views.iter().map(|view| self.bucket.width as f64 / view.crop.width).fold(0.0, f64::max)
    }
}

/// The file's bytes and the size of the upright picture, of one that can be read.
fn checked(path: &Path, to_the_last_pixel: bool) -> Result<(Vec<u8>, (u32, u32))> {
    let bytes = picture::read(path)?;
    let size = picture::size(path, &bytes)?;
    if to_the_last_pixel {
        picture::decode(path, &bytes, &picture::Reading::default())?;
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
