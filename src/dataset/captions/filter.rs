//! What is removed from captions or replaced in them, by SimpleTuner's rules of a `caption_filter_list`.

use crate::error::{Error, Result};
use fancy_regex::{Captures, Expander, Regex};
use std::path::Path;

/// One entry of the list.
#[derive(Debug)]
enum Rule {
    /// Every occurrence goes, first as it is written, then as a regular expression if it is one.
    Remove { literal: String, pattern: Option<Regex> },
    /// `s/pattern/replacement/`: every match is replaced; `\1` is the first group.
    Replace { written: String, pattern: Regex, replacement: String },
}

/// The list.
#[derive(Debug)]
pub(super) struct Filter {
    rules: Vec<Rule>,
}

impl Filter {
    /// From the entries of the list; blank ones are passed over.
    ///
    /// # Errors
    /// A replacement whose pattern is no regular expression.
    pub fn new(list: &[String]) -> Result<Self> {
        let entries = list.iter().filter(|entry| !entry.trim().is_empty());
        Ok(Self { rules: entries.map(|entry| Rule::new(entry)).collect::<Result<_>>()? })
    }

    /// `caption` after every rule, trimmed.
    ///
    /// # Errors
    /// A caption of which nothing is left, or on which a pattern takes too long.
    pub fn apply(&self, caption: &str, picture: &Path) -> Result<String> {
        let mut text = caption.to_owned();
        for rule in &self.rules {
            let filtered = rule.apply(&text).map_err(|cause| {
                let cause = format!("`{}` fails on {caption:?}: {cause}", rule.written());
                Error::setting("caption_filter_list", cause).hint("write a simpler pattern")
            })?;
            if filtered.trim().is_empty() {
                let cause =
                    format!("nothing is left of its caption {caption:?}: `{}` empties it", rule.written());
                return Err(Error::dataset(picture, cause)
                    .hint("change that line of caption_filter_list, or the caption"));
            }
            text = filtered;
        }
        Ok(text.trim().to_owned())
    }
}

impl Rule {
    fn new(entry: &str) -> Result<Self> {
        let Some((pattern, replacement)) = substitution(entry) else {
            return Ok(Self::Remove { literal: entry.to_owned(), pattern: Regex::new(entry).ok() });
        };
        let pattern = Regex::new(pattern).map_err(|e| {
            let cause = format!("`{entry}`: `{pattern}` is no regular expression ({e})");
            Error::setting("caption_filter_list", cause.replace('\n', " "))
                .hint("put \\ before ( [ . * + ? to mean the sign itself")
        })?;
        Ok(Self::Replace { written: entry.to_owned(), pattern, replacement: replacement.to_owned() })
    }

    fn written(&self) -> &str {
        match self {
            Self::Remove { literal, .. } => literal,
            Self::Replace { written, .. } => written,
        }
    }

    fn apply(&self, text: &str) -> std::result::Result<String, Box<fancy_regex::Error>> {
        match self {
            Self::Remove { literal, pattern } => {
                let text = text.replace(literal, "");
                match pattern {
                    Some(pattern) => Ok(pattern.try_replacen(&text, 0, "")?.into_owned()),
                    None => Ok(text),
                }
            }
            Self::Replace { pattern, replacement, .. } => {
                let expander = Expander::python();
                let expand = |groups: &Captures| expander.expansion(replacement, groups);
                Ok(pattern.try_replacen(text, 0, expand)?.into_owned())
            }
        }
    }
}

/// Pattern and replacement of `s/pattern/replacement` with or without a last `/`.
fn substitution(entry: &str) -> Option<(&str, &str)> {
    let body = entry.strip_prefix("s/")?;
    let (pattern, replacement) =
        body.strip_suffix('/').filter(|body| body.contains('/')).unwrap_or(body).split_once('/')?;
    (!replacement.contains('/') && !pattern.is_empty()).then_some((pattern, replacement))
}
