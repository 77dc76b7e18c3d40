//! The trigger word: the word in a prompt that calls up what was trained.

/// What the trigger word takes the place of, as in ai-toolkit's captions.
pub const PLACEHOLDER: &str = "[trigger]";

/// `caption` with `word` in the place of `[trigger]`, and before it if it is not there at all.
///
/// Punctuation at the end of `word` goes with it where it is put before, so that `k4s4,` gives `k4s4, a red cat`.
pub fn with_trigger(word: &str, caption: &str) -> String {
    let word = word.trim();
    let caption = caption.replace(PLACEHOLDER, bare(word));
    if has_trigger(word, &caption) { caption } else { format!("{word} {caption}") }
}

/// Whether `word` stands in `caption` as a word of its own, in upper or lower case.
pub fn has_trigger(word: &str, caption: &str) -> bool {
    let (word, caption) = (bare(word).to_lowercase(), caption.to_lowercase());
    let is_inside_word = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
    caption.match_indices(&word).any(|(at, found)| {
        !is_inside_word(caption[..at].chars().next_back())
            && !is_inside_word(caption[at + found.len()..].chars().next())
    })
}

/// The word without the punctuation behind it.
fn bare(word: &str) -> &str {
    word.trim().trim_end_matches([',', '.', ';', ':']).trim_end()
}
