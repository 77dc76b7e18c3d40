//! Patterns of layers' names, as PEFT and LyCORIS match them.

use crate::error::{Error, Result};
use regex::Regex;

/// A pattern that matches whole paths of layers.
#[derive(Debug, Clone)]
pub struct Pattern {
    text: String,
    regex: Regex,
}

impl Pattern {
    /// PEFT's rule for `rank_pattern` and `alpha_pattern`: a regular expression for a path, or for what follows one of
    /// its dots.
    ///
    /// # Errors
    /// No regular expression; the error names the setting `key`.
    pub fn of_peft(key: &str, text: &str) -> Result<Self> {
        Self::new(key, text, format!(r"^(?:.*\.)?(?:{text})$"))
    }

    /// LyCORIS' rule for names: a regular expression for the beginning of a path.
    ///
    /// # Errors
    /// As for [`Pattern::of_peft`].
    pub fn of_lycoris(key: &str, text: &str) -> Result<Self> {
        Self::new(key, text, format!("^(?:{text})"))
    }

    /// The rule for names of files: `*` is anything, `?` one character.
    ///
    /// # Errors
    /// As for [`Pattern::of_peft`].
    pub fn of_files(key: &str, text: &str) -> Result<Self> {
        let escaped = regex::escape(text).replace(r"\*", ".*").replace(r"\?", ".");
        Self::new(key, text, format!("^{escaped}$"))
    }

    fn new(key: &str, text: &str, expression: String) -> Result<Self> {
        let regex = Regex::new(&expression).map_err(|_| {
            Error::setting(key, format!("`{text}` is not a regular expression"))
                .hint("names of layers are like attn.to_q; a `.` stands for any character, `\\.` for a dot")
        })?;
        Ok(Self { text: text.to_owned(), regex })
    }

    /// As it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether it matches a layer's path.
    pub fn matches(&self, path: &str) -> bool {
        self.regex.is_match(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pefts_patterns_match_the_end_of_a_path_from_a_dot_on() {
        let matches = |text: &str, path: &str| Pattern::of_peft("rank_pattern", text).unwrap().matches(path);
        let path = "transformer_blocks.3.attn.to_q";
        for text in ["to_q", "attn.to_q", path, r"3\.attn\.to_q", "to_[qk]", r".*\.to_q", "to_k|to_q"] {
            assert!(matches(text, path), "{text}");
        }
        for text in ["o_q", "to", "attn", "transformer_blocks.3", "attn2.to_q", "^to_q"] {
            assert!(!matches(text, path), "{text}");
        }
        assert!(Pattern::of_peft("rank_pattern", "to_(q").unwrap_err().cause.contains("to_(q"));
    }

    #[test]
    fn lycoris_matches_from_the_beginning_and_files_match_as_a_whole() {
        let path = "transformer_blocks.12.attn.to_q";
        let lycoris = |text| Pattern::of_lycoris("lycoris_config", text).unwrap().matches(path);
        assert!(lycoris("transformer_blocks.1") && lycoris(r".*\.attn") && !lycoris("attn"));
        let files = |text| Pattern::of_files("lycoris_config", text).unwrap().matches(path);
        assert!(
            files("*.attn.*") && files("transformer_blocks.1?.attn.to_q") && !files("transformer_blocks.1")
        );
    }
}
