//! How often words and tags stand in captions.

use serde::Serialize;
use std::collections::{BTreeSet, HashMap};

/// A word or tag, and in how many captions it stands.
pub type Count = (String, usize);

/// See the module's documentation. Lists are ordered by frequency, then by alphabet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Vocabulary {
    /// Words in lower case, without the punctuation around them.
    pub words: Vec<Count>,
    /// What stands between commas.
    pub tags: Vec<Count>,
    /// Captions with three tags or more, all of which have few words.
    #[serde(skip)]
    lists: usize,
    /// Captions.
    #[serde(skip)]
    captions: usize,
}

/// Tags from which on a caption is a list of them, and words that a tag has at most.
const TAGS_OF_A_LIST: usize = 3;
const WORDS_OF_A_TAG: usize = 4;

impl Vocabulary {
    /// Of these captions.
    pub fn of<'a>(captions: impl Iterator<Item = &'a String>) -> Self {
        let (mut words, mut tags) = (HashMap::new(), HashMap::new());
        let (mut lists, mut number) = (0, 0);
        for caption in captions {
            number += 1;
            count(&mut words, words_of(caption));
            let parts: Vec<String> = tags_of(caption).collect();
            let is_short = |tag: &String| tag.split_whitespace().count() <= WORDS_OF_A_TAG;
            lists += usize::from(parts.len() >= TAGS_OF_A_LIST && parts.iter().all(is_short));
            count(&mut tags, parts.into_iter());
        }
        Self { words: by_frequency(words), tags: by_frequency(tags), lists, captions: number }
    }

    /// Whether captions are in the main lists of tags.
    pub fn tag_lists(&self) -> bool {
        2 * self.lists > self.captions
    }
}

/// The words of a caption in lower case, without the punctuation around them.
pub fn words_of(caption: &str) -> impl Iterator<Item = String> {
    let words = caption.split_whitespace().map(|word| word.trim_matches(|c: char| !c.is_alphanumeric()));
    words.filter(|word| !word.is_empty()).map(str::to_lowercase)
}

fn tags_of(caption: &str) -> impl Iterator<Item = String> {
    caption.split(',').map(str::trim).filter(|tag| !tag.is_empty()).map(str::to_lowercase)
}

/// Counts each of `parts` once.
fn count(counts: &mut HashMap<String, usize>, parts: impl Iterator<Item = String>) {
    for part in parts.collect::<BTreeSet<_>>() {
        *counts.entry(part).or_insert(0) += 1;
    }
}

fn by_frequency(counts: HashMap<String, usize>) -> Vec<Count> {
    let mut counts: Vec<Count> = counts.into_iter().collect();
    counts.sort_by(|(a, m), (b, n)| n.cmp(m).then_with(|| a.cmp(b)));
    counts
}
