//! Captions that are the names of the pictures.

use crate::error::{Error, Result};
use std::path::Path;

/// The name of `picture` without its extension, `_` read as a space.
pub(super) fn caption(picture: &Path) -> Result<String> {
    let stem = picture.file_stem().and_then(|stem| stem.to_str());
    let stem = stem.ok_or_else(|| Error::dataset(picture, "has a name that is not UTF-8"))?;
    let words: Vec<&str> = stem.split(['_', ' ']).filter(|word| !word.is_empty()).collect();
    if words.is_empty() {
        return Err(Error::dataset(picture, "has a name without words, so it has no caption")
            .hint("rename it, or choose another caption_strategy"));
    }
    Ok(words.join(" "))
}
