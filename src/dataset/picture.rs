//! Reads a picture, or says why it cannot be used: any of the formats, upright, 8-bit RGB.

use super::{colour, jpeg, upright};
use crate::error::{Error, Result};
use image::codecs::{gif::GifDecoder, png::PngDecoder, webp::WebPDecoder};
use image::metadata::Orientation;
use image::{
    AnimationDecoder, ColorType, DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits,
    RgbImage,
};
use std::io::Cursor;
use std::path::Path;

/// The longest side that is read.
const MAX_SIDE: u32 = 32_768;
/// The most pixels that are read.
const MAX_PIXELS: u64 = 120_000_000;
/// The most memory that a decoded picture may take.
const MAX_BYTES: u64 = 512 << 20;
/// The largest file that is read.
const MAX_FILE: u64 = 1 << 30;

/// What to do about a picture of no use.
const REPLACE: &str = "replace or remove it";
/// What to do about one that is too large.
const SHRINK: &str = "scale it down first";

/// How a picture becomes upright 8-bit RGB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// What lies under transparent pixels: red, green, blue.
    pub background: [u8; 3],
    /// Whether colours are converted from the picture's profile to sRGB; otherwise the numbers stay as they are.
    pub to_srgb: bool,
}

/// As training reads: white under transparency, and the numbers as they are.
impl Default for Reading {
    fn default() -> Self {
        Self { background: [255; 3], to_srgb: false }
    }
}

/// The bytes of the file at `path`.
///
/// # Errors
/// A file that is empty, too large or cannot be read.
pub fn read(path: &Path) -> Result<Vec<u8>> {
    let broken = |e: &std::io::Error| Error::dataset(path, Error::io(path, e).cause).hint(REPLACE);
    let size = std::fs::metadata(path).map_err(|e| broken(&e))?.len();
    if size > MAX_FILE {
        return Err(Error::dataset(path, format!("is a file of {} MiB", size >> 20)).hint(SHRINK));
    }
    let bytes = std::fs::read(path).map_err(|e| broken(&e))?;
    if bytes.is_empty() {
        return Err(Error::dataset(path, "is an empty file").hint(REPLACE));
    }
    Ok(bytes)
}

/// Width and height of the upright picture, from its header alone.
///
/// # Errors
/// Whatever makes the picture unfit that its header or its markers tell.
pub fn size(path: &Path, bytes: &[u8]) -> Result<(u32, u32)> {
    let mut decoder = open(path, bytes)?;
    let (width, height) = decoder.dimensions();
    let turned = matches!(
        orientation(&mut decoder),
        Orientation::Rotate90
            | Orientation::Rotate270
            | Orientation::Rotate90FlipH
            | Orientation::Rotate270FlipH
    );
    Ok(if turned { (height, width) } else { (width, height) })
}

/// The upright picture.
///
/// # Errors
/// Whatever makes the picture unfit, to its last pixel.
pub fn decode(path: &Path, bytes: &[u8], reading: &Reading) -> Result<RgbImage> {
    decode_into(path, bytes, reading, Vec::new())
}

/// [`decode`], with the pixels in `memory` where that saves taking new: the picture's bytes can be given to the
/// next call.
///
/// # Errors
/// Whatever makes the picture unfit, to its last pixel.
pub fn decode_into(path: &Path, bytes: &[u8], reading: &Reading, memory: Vec<u8>) -> Result<RgbImage> {
    let mut decoder = open(path, bytes)?;
    let orientation = orientation(&mut decoder);
    let profile = if reading.to_srgb { decoder.icc_profile().ok().flatten() } else { None };
    let mut picture = pixels(decoder, memory).map_err(|e| unreadable(path, e))?;
    if let Some(profile) = profile {
        picture = colour::to_srgb(picture, &profile);
    }
    let picture = upright::upright(picture, orientation);
    Ok(if picture.color().has_alpha() { laid_on(picture, reading.background) } else { picture.into_rgb8() })
}

/// The picture as the decoder gives it.
fn pixels(decoder: impl ImageDecoder, mut memory: Vec<u8>) -> std::result::Result<DynamicImage, ImageError> {
    let (width, height) = decoder.dimensions();
    if decoder.color_type() != ColorType::Rgb8 {
        return DynamicImage::from_decoder(decoder);
    }
    memory.resize(decoder.total_bytes() as usize, 0);
    decoder.read_image(&mut memory)?;
    Ok(DynamicImage::ImageRgb8(RgbImage::from_raw(width, height, memory).unwrap_or_default()))
}

/// A decoder for a picture that may be decoded: its format is known from its content, it stands still, it
/// is whole as far as its markers tell, and it keeps within the limits.
fn open<'a>(path: &Path, bytes: &'a [u8]) -> Result<impl ImageDecoder + 'a> {
    let reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format();
    let mut reader = reader.map_err(|e| Error::dataset(path, e.to_string()))?;
    let Some(format) = reader.format() else {
        let cause = "is not a picture: its content is of no known picture format";
        return Err(Error::dataset(path, cause).hint(REPLACE));
    };
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(MAX_BYTES);
    reader.limits(limits);
    let decoder = reader.into_decoder().map_err(|e| unreadable(path, e))?;
    within_limits(path, &decoder)?;
    if format == ImageFormat::Jpeg && !jpeg::is_whole(bytes) {
        return Err(Error::dataset(path, "is truncated: the JPEG data has no end").hint(REPLACE));
    }
    if is_animated(format, bytes).map_err(|e| unreadable(path, e))? {
        return Err(Error::dataset(path, "is animated").hint("save one frame as a picture"));
    }
    Ok(decoder)
}

/// Refuses what would take too much memory, before any is taken.
fn within_limits(path: &Path, decoder: &impl ImageDecoder) -> Result<()> {
    let (width, height) = decoder.dimensions();
    let pixels = u64::from(width) * u64::from(height);
    let cause = if pixels == 0 {
        return Err(Error::dataset(path, "has no pixels").hint(REPLACE));
    } else if width > MAX_SIDE || height > MAX_SIDE {
        format!("is too large: {width}x{height}, a side may have {MAX_SIDE} pixels")
    } else if pixels > MAX_PIXELS {
        format!("is too large: {width}x{height}, a picture may have {} megapixels", MAX_PIXELS / 1_000_000)
    } else if decoder.total_bytes() > MAX_BYTES {
        let needed = decoder.total_bytes() >> 20;
        format!("is too large: {needed} MiB when decoded, the limit is {} MiB", MAX_BYTES >> 20)
    } else {
        return Ok(());
    };
    Err(Error::dataset(path, cause).hint(SHRINK))
}

/// Whether there is more than one frame.
fn is_animated(format: ImageFormat, bytes: &[u8]) -> std::result::Result<bool, ImageError> {
    let cursor = Cursor::new(bytes);
    match format {
        ImageFormat::Png => PngDecoder::new(cursor)?.is_apng(),
        ImageFormat::WebP => Ok(WebPDecoder::new(cursor)?.has_animation()),
        ImageFormat::Gif => {
            let mut decoder = GifDecoder::new(cursor)?;
            let mut limits = Limits::no_limits();
            limits.max_alloc = Some(MAX_BYTES);
            decoder.set_limits(limits)?;
            let mut frames = decoder.into_frames();
            frames.next().transpose()?;
            Ok(frames.next().is_some())
        }
        _ => Ok(false),
    }
}

/// How the picture is to be turned; metadata that cannot be read turns nothing.
fn orientation(decoder: &mut impl ImageDecoder) -> Orientation {
    decoder.orientation().unwrap_or(Orientation::NoTransforms)
}

/// Lays a picture with transparency on one colour.
fn laid_on(picture: DynamicImage, background: [u8; 3]) -> RgbImage {
    let picture = picture.into_rgba8();
    RgbImage::from_fn(picture.width(), picture.height(), |x, y| {
        let [red, green, blue, alpha] = picture.get_pixel(x, y).0;
        let blend = |colour: u8, under: u8| {
            let weighted = u32::from(colour) * u32::from(alpha) + u32::from(under) * (255 - u32::from(alpha));
            ((weighted + 127) / 255) as u8
        };
        image::Rgb([blend(red, background[0]), blend(green, background[1]), blend(blue, background[2])])
    })
}

/// The decoder's complaint in one line.
fn unreadable(path: &Path, error: ImageError) -> Error {
    match error {
        ImageError::Limits(_) => {
            Error::dataset(path, format!("is too large: decoding takes more than {} MiB", MAX_BYTES >> 20))
                .hint(SHRINK)
        }
        ImageError::IoError(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => {
            Error::dataset(path, "is truncated").hint(REPLACE)
        }
        ImageError::Unsupported(e) => Error::dataset(
            path,
            format!("is of a kind that is not read here: {}", first_line(&e.to_string())),
        )
        .hint("save it as an 8-bit PNG or JPEG"),
        other => Error::dataset(path, format!("cannot be decoded: {}", first_line(&other.to_string())))
            .hint(REPLACE),
    }
}

/// The first line of a message.
fn first_line(message: &str) -> &str {
    message.lines().next().unwrap_or_default()
}

#[cfg(test)]
mod tests;
