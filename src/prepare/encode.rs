//! Pictures as files.

use super::options::Format;
use image::RgbImage;
use jpeg_encoder::{ColorType, Encoder, SamplingFactor};

/// Quality of the small pictures of the review sheet.
const THUMBNAIL_QUALITY: u8 = 72;

/// The file of `picture`.
///
/// # Errors
/// What the encoder says in one line.
pub(super) fn encode(picture: &RgbImage, format: Format) -> std::result::Result<Vec<u8>, String> {
    match format {
        Format::Png => png(picture).map_err(|e| e.to_string()),
        Format::Jpeg(quality) => jpeg(picture, quality).map_err(|e| e.to_string()),
    }
}

/// The file of a small copy.
pub(super) fn encode_thumbnail(picture: &RgbImage) -> std::result::Result<Vec<u8>, String> {
    jpeg(picture, THUMBNAIL_QUALITY).map_err(|e| e.to_string())
}

/// Fast compression: a tenth larger than the slow one, in a fortieth of the time.
fn png(picture: &RgbImage) -> std::result::Result<Vec<u8>, png::EncodingError> {
    let mut bytes = Vec::with_capacity(picture.as_raw().len() / 2);
    let mut encoder = png::Encoder::new(&mut bytes, picture.width(), picture.height());
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_compression(png::Compression::Fast);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(picture.as_raw())?;
    writer.finish()?;
    Ok(bytes)
}

/// Chroma at half resolution, as most programs write.
fn jpeg(picture: &RgbImage, quality: u8) -> std::result::Result<Vec<u8>, jpeg_encoder::EncodingError> {
    let mut bytes = Vec::with_capacity(picture.as_raw().len() / 8);
    let mut encoder = Encoder::new(&mut bytes, quality);
    encoder.set_sampling_factor(SamplingFactor::F_2_2);
    // No side is longer than a JPEG can hold: sizes end at 16384 pixels.
    let (width, height) = (picture.width() as u16, picture.height() as u16);
    encoder.encode(picture.as_raw(), width, height, ColorType::Rgb)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::Rgb;

    fn drawing() -> RgbImage {
        RgbImage::from_fn(48, 32, |x, y| Rgb([x as u8 * 5, y as u8 * 7, 90]))
    }

    #[test]
    fn png_loses_nothing_and_jpeg_little() {
        let picture = drawing();
        let read = |bytes: Vec<u8>| image::load_from_memory(&bytes).unwrap().into_rgb8();
        assert_eq!(read(encode(&picture, Format::Png).unwrap()), picture);
        let lossy = read(encode(&picture, Format::Jpeg(95)).unwrap());
        let worst = lossy.as_raw().iter().zip(picture.as_raw()).map(|(a, b)| a.abs_diff(*b)).max();
        assert!(worst.unwrap() <= 12, "{worst:?}");
    }
}
