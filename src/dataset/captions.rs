//! Captions: where they come from, and which variant a step uses.

use crate::error::{Error, ErrorKind, Result};
use crate::random::{Purpose, Stream};
use std::path::Path;

/// Where a picture's caption comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CaptionStrategy {
    /// A file of the picture's name that ends in `.txt` or `.caption`; every line is a variant.
    TextFile,
    /// The picture's name without its extension, `_` read as a space.
    FileName,
    /// The same text for every picture.
    InstancePrompt(String),
}

impl CaptionStrategy {
    /// The caption variants of `picture`, at least one, each with `prepend` before it.
    ///
    /// # Errors
    /// A caption that is missing, empty or not UTF-8.
    pub(super) fn captions(&self, picture: &Path, prepend: Option<&str>) -> Result<Vec<String>> {
        let variants = match self {
            Self::TextFile => from_file(picture)?,
            Self::FileName => vec![from_name(picture)?],
            Self::InstancePrompt(prompt) if prompt.trim().is_empty() => {
                return Err(Error::setting("instance_prompt", "is empty"));
            }
            Self::InstancePrompt(prompt) => vec![prompt.trim().to_owned()],
        };
        Ok(match prepend.map(str::trim).filter(|text| !text.is_empty()) {
            Some(text) => variants.iter().map(|caption| format!("{text} {caption}")).collect(),
            None => variants,
        })
    }
}

/// The non-blank lines of the caption file beside `picture`.
fn from_file(picture: &Path) -> Result<Vec<String>> {
    let files = [picture.with_extension("txt"), picture.with_extension("caption")];
    let Some(file) = files.iter().find(|file| file.is_file()) else {
        let name = files[0].file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        return Err(Error::dataset(picture, format!("has no caption: {} is missing", files[0].display()))
            .hint(format!("write {name}, choose another caption_strategy, or set skip_broken_images=true")));
    };
    let bytes = std::fs::read(file)
        .map_err(|e| Error { kind: ErrorKind::Dataset, ..Error::io(file, &e) }.hint(caption_of(picture)))?;
    let text = String::from_utf8(bytes)
        .map_err(|_| Error::dataset(file, "is not UTF-8 text").hint("save the caption as UTF-8"))?;
    let lines = text.trim_start_matches('\u{feff}').lines().map(str::trim).filter(|line| !line.is_empty());
    let variants: Vec<String> = lines.map(str::to_owned).collect();
    if variants.is_empty() {
        return Err(Error::dataset(file, "is empty").hint(caption_of(picture)));
    }
    Ok(variants)
}

/// Says whose caption a file is.
fn caption_of(picture: &Path) -> String {
    format!("it must hold the caption of {}; or set skip_broken_images=true", picture.display())
}

/// The picture's name as a caption.
fn from_name(picture: &Path) -> Result<String> {
    let stem = picture.file_stem().and_then(|stem| stem.to_str());
    let stem = stem.ok_or_else(|| Error::dataset(picture, "has a name that is not UTF-8"))?;
    let words: Vec<&str> = stem.split(['_', ' ']).filter(|word| !word.is_empty()).collect();
    if words.is_empty() {
        return Err(Error::dataset(picture, "has a name without words, so it has no caption"));
    }
    Ok(words.join(" "))
}

/// Which of `variants` captions the sample at `ordinal` in optimizer step `step` gets.
///
/// `step` counts from 0; `ordinal` numbers the samples of a step through all its micro-batches.
pub fn caption_variant(seed: u64, step: usize, ordinal: usize, variants: usize) -> usize {
    Stream::new(seed, Purpose::Caption, 0, step as u32, ordinal as u32).below(0, variants)
}

/// Whether the sample at `ordinal` in optimizer step `step` is shown with the empty caption.
pub fn caption_dropped(seed: u64, step: usize, ordinal: usize, probability: f64) -> bool {
    let draw = Stream::new(seed, Purpose::CaptionDropout, 0, step as u32, ordinal as u32).uniform(0);
    f64::from(draw) < probability
}

#[cfg(test)]
mod tests {
    use super::*;

    fn captions_of(file: &str, bytes: &[u8]) -> Result<Vec<String>> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(file), bytes).unwrap();
        CaptionStrategy::TextFile.captions(&folder.path().join("cat.png"), None)
    }

    #[test]
    fn every_line_is_a_variant_and_blank_lines_are_none() {
        let text = "\u{feff}a red cat\r\n\r\n   \n  a small cat \nein Kätzchen".as_bytes();
        assert_eq!(captions_of("cat.txt", text).unwrap(), ["a red cat", "a small cat", "ein Kätzchen"]);
        assert_eq!(captions_of("cat.caption", b"a cat").unwrap(), ["a cat"]);
    }

    #[test]
    fn a_caption_that_is_missing_empty_or_no_text_is_an_error() {
        let missing = captions_of("dog.txt", b"a dog").unwrap_err();
        assert!(missing.place.ends_with("cat.png") && missing.cause.contains("cat.txt"), "{missing}");
        for empty in [&b""[..], b" \n\t\n", "\u{feff}".as_bytes()] {
            let error = captions_of("cat.txt", empty).unwrap_err();
            assert!(error.place.ends_with("cat.txt") && error.cause == "is empty", "{error}");
        }
        let latin1 = captions_of("cat.txt", b"K\xe4tzchen").unwrap_err();
        assert_eq!(latin1.cause, "is not UTF-8 text");
    }

    #[test]
    fn names_and_prompts_become_captions() {
        let picture = Path::new("/pictures/a_red__cat.v2.png");
        assert_eq!(CaptionStrategy::FileName.captions(picture, None).unwrap(), ["a red cat.v2"]);
        assert_eq!(
            CaptionStrategy::FileName.captions(picture, Some("k4s4, ")).unwrap(),
            ["k4s4, a red cat.v2"]
        );
        let prompt = CaptionStrategy::InstancePrompt("k4s4 style".into());
        assert_eq!(prompt.captions(picture, None).unwrap(), ["k4s4 style"]);
        assert!(CaptionStrategy::FileName.captions(Path::new("___.png"), None).is_err());
        assert!(CaptionStrategy::InstancePrompt(" ".into()).captions(picture, None).is_err());
    }

    #[test]
    fn dropout_and_variants_follow_their_probabilities_and_repeat() {
        let dropped = (0..20_000).filter(|&i| caption_dropped(3, i / 4, i % 4, 0.1)).count() as f64;
        let deviation = (20_000.0f64 * 0.1 * 0.9).sqrt();
        assert!((dropped - 2000.0).abs() < 4.0 * deviation, "{dropped}");
        assert!((0..100).all(|step| !caption_dropped(3, step, 0, 0.0) && caption_dropped(3, step, 0, 1.0)));
        let mut counts = [0usize; 3];
        for step in 0..9000 {
            let variant = caption_variant(5, step, 1, 3);
            assert_eq!(variant, caption_variant(5, step, 1, 3));
            counts[variant] += 1;
        }
        let deviation = (9000.0f64 * (1.0 / 3.0) * (2.0 / 3.0)).sqrt();
        assert!(counts.iter().all(|&n| (n as f64 - 3000.0).abs() < 4.0 * deviation), "{counts:?}");
    }
}
