//! `overrides.json`: what the user wants otherwise, picture by picture. The review sheet writes it.
//!
//! ```json
//! { "pictures": {
//!     "a.jpg":     { "window": [120, 0, 1800, 1400], "size": "1152x896" },
//!     "sub/b.png": { "focus": [640, 200] },
//!     "c.jpg":     { "skip": true } } }
//! ```
//!
//! Windows (x, y, width, height) and focuses (x, y, or a box like a window) are in pixels of the upright picture.

use super::options::parse_size;
use super::region::Region;
use crate::dataset::Bucket;
use crate::error::{Error, ErrorKind, Result};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::path::Path;

/// What the file holds.
#[derive(Debug, Clone, Default)]
pub(super) struct Overrides {
    /// Wishes by the names of the pictures.
    pub wishes: BTreeMap<String, Wish>,
    /// The same as they are written, for the review sheet.
    pub written: Map<String, Value>,
}

/// What the user wants of one picture.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Wish {
    /// Whether it is left out of the target folder.
    pub skip: bool,
    /// The part to show.
    pub window: Option<Region>,
    /// What it is about.
    pub focus: Option<Region>,
    /// The size of the crop.
    pub size: Option<Bucket>,
}

/// Reads the wishes in the file at `path`; none if there is no such file.
///
/// # Errors
/// A file that cannot be understood to its last word: a wish is never obeyed by half.
pub(super) fn read(path: &Path) -> Result<Overrides> {
    let text = match std::fs::read(path) {
        Ok(text) => text,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Overrides::default()),
        Err(e) => return Err(Error::io(path, &e)),
    };
    let wrong = |place: &str, cause: String| {
        let place = format!("{}{place}", path.display());
        Error::new(ErrorKind::Settings, place, cause).hint("mend it, or download it from review.html again")
    };
    let json: Value =
        serde_json::from_slice(&text).map_err(|e| wrong("", format!("is not valid JSON: {e}")))?;
    let Some(pictures) = json.get("pictures").and_then(Value::as_object) else {
        return Err(wrong("", "has no object `pictures`".to_owned()));
    };
    let mut wishes = BTreeMap::new();
    for (name, value) in pictures {
        let wish = value.as_object().ok_or_else(|| "must be an object".to_owned()).and_then(wish);
        let wish = wish.map_err(|cause| wrong(&format!(", picture `{name}`"), cause))?;
        wishes.insert(name.clone(), wish);
    }
    Ok(Overrides { wishes, written: pictures.clone() })
}

fn wish(fields: &Map<String, Value>) -> std::result::Result<Wish, String> {
    let mut wish = Wish::default();
    for (key, value) in fields {
        let wrong = |expected: &str| format!("`{key}` is {value}, but must be {expected}");
        match key.as_str() {
            "skip" => wish.skip = value.as_bool().ok_or_else(|| wrong("true or false"))?,
            "window" => wish.window = Some(window(value).ok_or_else(|| wrong("[x, y, width, height]"))?),
            "focus" => {
                let focus = point(value).or_else(|| window(value));
                wish.focus = Some(focus.ok_or_else(|| wrong("[x, y] or [x, y, width, height]"))?);
            }
            "size" => {
                let text = value.as_str().ok_or_else(|| wrong("a size such as \"1152x896\""))?;
                wish.size = Some(parse_size(text).map_err(|e| e.cause)?);
            }
            _ => return Err(format!("`{key}` is unknown: there are `skip`, `window`, `focus` and `size`")),
        }
    }
    Ok(wish)
}

fn window(value: &Value) -> Option<Region> {
    let region = match value.as_array() {
        Some(_) => numbers::<4>(value).map(|[x, y, width, height]| Region { x, y, width, height }),
        None => serde_json::from_value(value.clone()).ok(),
    };
    region.filter(|region| region.width > 0.0 && region.height > 0.0)
}

fn point(value: &Value) -> Option<Region> {
    let [x, y] = numbers::<2>(value)?;
    Some(Region { x, y, width: 0.0, height: 0.0 })
}

fn numbers<const N: usize>(value: &Value) -> Option<[f64; N]> {
    let numbers: Option<Vec<f64>> = value.as_array()?.iter().map(Value::as_f64).collect();
    numbers?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Overrides> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("overrides.json");
        std::fs::write(&path, text).unwrap();
        read(&path)
    }

    #[test]
    fn wishes_are_read() {
        let wishes = parsed(
            r#"{ "pictures": {
                "a.jpg": { "window": [1, 2.5, 30, 40], "size": "32x48" },
                "b.jpg": { "focus": [7, 8] },
                "c.jpg": { "focus": { "x": 1, "y": 2, "width": 3, "height": 4 } },
                "d.jpg": { "skip": true }, "e.jpg": {} } }"#,
        )
        .unwrap()
        .wishes;
        let region = |x, y, width, height| Region { x, y, width, height };
        assert_eq!(wishes["a.jpg"].window, Some(region(1.0, 2.5, 30.0, 40.0)));
        assert_eq!(wishes["a.jpg"].size, Some(Bucket { width: 32, height: 48 }));
        assert_eq!(wishes["b.jpg"].focus, Some(region(7.0, 8.0, 0.0, 0.0)));
        assert_eq!(wishes["c.jpg"].focus, Some(region(1.0, 2.0, 3.0, 4.0)));
        assert!(wishes["d.jpg"].skip);
        assert_eq!(wishes["e.jpg"], Wish::default());
        assert!(read(Path::new("/no/such/overrides.json")).unwrap().wishes.is_empty());
    }

    #[test]
    fn what_is_not_understood_is_named() {
        for (text, part) in [
            ("{", "not valid JSON"),
            ("[]", "no object `pictures`"),
            (r#"{ "pictures": { "a.jpg": 1 } }"#, "must be an object"),
            (r#"{ "pictures": { "a.jpg": { "crop": 1 } } }"#, "`crop` is unknown"),
            (r#"{ "pictures": { "a.jpg": { "window": [1, 2, 3] } } }"#, "[x, y, width, height]"),
            (r#"{ "pictures": { "a.jpg": { "window": [1, 2, 0, 3] } } }"#, "[x, y, width, height]"),
            (r#"{ "pictures": { "a.jpg": { "window": [1, 2, "3", 4] } } }"#, "[x, y, width, height]"),
            (r#"{ "pictures": { "a.jpg": { "size": "30x48" } } }"#, "multiples of 16"),
            (r#"{ "pictures": { "a.jpg": { "skip": "yes" } } }"#, "true or false"),
        ] {
            let error = parsed(text).unwrap_err();
            assert!(error.cause.contains(part), "{text}: {error}");
            assert!(!error.hint.is_empty());
        }
    }
}
