//! PNG pictures that carry their settings, and the step from the decoder's values to 8 bits.

use crate::error::{Error, Result};
use crate::files;
use image::RgbImage;
use serde_json::Value;
use std::io::{BufReader, Cursor};
use std::path::Path;

/// Key of the text that A1111-style viewers show.
pub const PARAMETERS: &str = "parameters";
/// Key of the same settings as JSON.
pub const SETTINGS: &str = "sargent";

/// How a picture was made, as viewers of generated pictures show it.
#[derive(Debug, Clone, PartialEq)]
pub struct PictureText {
    /// What was asked for.
    pub prompt: String,
    /// What was to be avoided; may be empty.
    pub negative_prompt: String,
    /// `(name, value)` in the order shown, such as `("Steps", "28")`.
    pub details: Vec<(String, String)>,
    /// Everything needed to draw the picture again.
    pub settings: Value,
}

impl PictureText {
    /// The prompt, the negative prompt, and one line of details.
    fn parameters(&self) -> String {
        let mut text = self.prompt.clone();
        if !self.negative_prompt.is_empty() {
            text += &format!("\nNegative prompt: {}", self.negative_prompt);
        }
        let details: Vec<String> =
            self.details.iter().map(|(name, value)| format!("{name}: {value}")).collect();
        text + "\n" + &details.join(", ")
    }

    /// The text chunks to write.
    pub fn chunks(&self) -> [(&'static str, String); 2] {
        [(PARAMETERS, self.parameters()), (SETTINGS, self.settings.to_string())]
    }
}

/// The picture of `values`, planes of red, green and blue in [-1, 1], as `round(255 * clamp(x / 2 + 1 / 2, 0, 1))`.
///
/// # Errors
/// A number of values other than `3 * width * height`.
pub fn picture(values: &[f32], width: u32, height: u32) -> Result<RgbImage> {
    let plane = width as usize * height as usize;
    if values.len() != 3 * plane {
        let cause = format!("{} values for a picture of {width}x{height}", values.len());
        return Err(Error::shape("picture", cause));
    }
    let mut picture = RgbImage::new(width, height);
    for (i, pixel) in picture.pixels_mut().enumerate() {
        pixel.0 = [0, 1, 2].map(|channel| eight_bits(values[channel * plane + i]));
    }
    Ok(picture)
}

/// Halves round to even, as NumPy's `round` does.
fn eight_bits(value: f32) -> u8 {
    ((0.5 * value + 0.5).clamp(0.0, 1.0) * 255.0).round_ties_even() as u8
}

/// Writes `picture` to `path` with text chunks `(key, text)`, whole or not at all.
pub fn write(path: &Path, picture: &RgbImage, texts: &[(&str, String)]) -> Result<()> {
    files::replace_bytes(path, &encode(picture, texts).map_err(|e| Error::io(path, &e))?)
}

/// The bytes of a PNG; a text is `tEXt` if it is ASCII, else `iTXt`.
pub fn encode(picture: &RgbImage, texts: &[(&str, String)]) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut encoder = ::png::Encoder::new(&mut bytes, picture.width(), picture.height());
    encoder.set_color(::png::ColorType::Rgb);
    encoder.set_depth(::png::BitDepth::Eight);
    for (key, text) in texts {
        if text.is_ascii() {
            encoder.add_text_chunk((*key).to_owned(), text.clone())?;
        } else {
            encoder.add_itxt_chunk((*key).to_owned(), text.clone())?;
        }
    }
    let mut writer = encoder.write_header()?;
    writer.write_image_data(picture.as_raw())?;
    writer.finish()?;
    Ok(bytes)
}

/// The text chunks of a PNG, `(key, text)`.
///
/// # Errors
/// A file that is not a whole PNG.
pub fn read_texts(path: &Path) -> Result<Vec<(String, String)>> {
    let bytes = std::fs::read(path).map_err(|e| Error::io(path, &e))?;
    let unreadable = |e: ::png::DecodingError| Error::dataset(path, format!("not a readable PNG ({e})"));
    let mut reader =
        ::png::Decoder::new(BufReader::new(Cursor::new(bytes))).read_info().map_err(unreadable)?;
    reader.finish().map_err(unreadable)?;
    let info = reader.info();
    let mut texts: Vec<(String, String)> = Vec::new();
    for chunk in &info.uncompressed_latin1_text {
        texts.push((chunk.keyword.clone(), chunk.text.clone()));
    }
    for chunk in &info.compressed_latin1_text {
        texts.push((chunk.keyword.clone(), chunk.get_text().map_err(unreadable)?));
    }
    for chunk in &info.utf8_text {
        texts.push((chunk.keyword.clone(), chunk.get_text().map_err(unreadable)?));
    }
    Ok(texts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn text(prompt: &str) -> PictureText {
        PictureText {
            prompt: prompt.into(),
            negative_prompt: "blurry".into(),
            details: vec![("Steps".into(), "28".into()), ("CFG scale".into(), "4.5".into())],
            settings: json!({ "prompt": prompt, "seed": 42 }),
        }
    }

    #[test]
    fn the_settings_are_read_back_in_any_alphabet() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("picture.png");
        let drawn = RgbImage::from_fn(5, 4, |x, y| image::Rgb([x as u8 * 50, y as u8 * 60, 7]));
        for prompt in ["a cat", "eine Kätzchen-Skizze, 猫 🐈"] {
            write(&path, &drawn, &text(prompt).chunks()).unwrap();
            let texts = read_texts(&path).unwrap();
            let parameters = format!("{prompt}\nNegative prompt: blurry\nSteps: 28, CFG scale: 4.5");
            assert!(texts.contains(&(PARAMETERS.to_owned(), parameters)));
            let (_, settings) = texts.iter().find(|(key, _)| key == SETTINGS).unwrap();
            assert_eq!(serde_json::from_str::<Value>(settings).unwrap()["prompt"], prompt);
            assert_eq!(image::open(&path).unwrap().into_rgb8(), drawn);
        }
    }

    #[test]
    fn values_are_rounded_and_clamped() {
        let plane =
            [-1.0, 1.0, 0.0, -7.0, 7.0, 2.0 * 100.4 / 255.0 - 1.0, 2.0 * 100.6 / 255.0 - 1.0, f32::NAN];
        let values: Vec<f32> = [plane, [0.25; 8], [-1.0; 8]].concat();
        let picture = picture(&values, 4, 2).unwrap();
        let red: Vec<u8> = picture.pixels().map(|pixel| pixel.0[0]).collect();
        assert_eq!(red, [0, 255, 128, 0, 255, 100, 101, 0]);
        assert_eq!(picture.get_pixel(3, 1).0[1..], [159, 0]);
        assert!(super::picture(&values, 4, 3).is_err());
    }

    #[test]
    fn files_that_are_no_png_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("picture.png");
        let whole = encode(&RgbImage::new(9, 9), &text("x").chunks()).unwrap();
        for bytes in [b"no picture".as_slice(), &whole[..whole.len() - 20], &[]] {
            std::fs::write(&path, bytes).unwrap();
            assert!(read_texts(&path).unwrap_err().cause.contains("PNG"));
        }
    }
}
