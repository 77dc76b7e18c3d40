//! How much of a text an encoder sees.

/// The tokens of a text against an encoder's limit, those that begin and end every text included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fit {
    /// Tokens that the text would need.
    pub tokens: usize,
    /// Tokens that the encoder takes.
    pub limit: usize,
    /// The byte of the text from which on it is cut, if it is.
    pub cut_at: Option<usize>,
}

impl Fit {
    /// Of tokens that lie at `spans` (begin and end in bytes), with `special` further ones in every text.
    pub(super) fn new(text: &str, spans: &[(usize, usize)], special: usize, limit: usize) -> Self {
        let cut_at = spans.get(limit.saturating_sub(special)).map(|(begin, _)| word_at(text, *begin));
        Self { tokens: spans.len() + special, limit, cut_at }
    }
}

/// Where the word begins that the byte `at` lies in: a word of which the end is cut is lost as well.
fn word_at(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    let (before, after) = text.split_at(at);
    if after.starts_with(|c: char| !c.is_alphanumeric()) {
        return at;
    }
    before.trim_end_matches(char::is_alphanumeric).len()
}
