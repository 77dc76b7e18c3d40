//! What is odd about captions: mostly signs that an editor or a captioning program left behind.

use super::{Captioned, PLACEHOLDER, all};
use serde::Serialize;

/// Something odd, in how many captions or files, and where for example.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Oddity {
    /// What it is, in words.
    pub what: String,
    /// How often it was found.
    pub count: usize,
    /// The first picture with it.
    pub picture: String,
    /// What was found there; empty if the words say it.
    pub example: String,
}

type Finds = fn(&str) -> Option<String>;
type IsOdd = fn(&Captioned) -> bool;

/// What is looked for in every caption; it finds an example.
const IN_CAPTIONS: [(&str, Finds); 8] = [
    ("captions with [trigger], which nothing replaces: set trigger_word", |caption| {
        caption.contains(PLACEHOLDER).then(String::new)
    }),
    (
        "captions with typographic quotes, dashes or dots, which are other tokens than those of the keyboard",
        |caption| signs(caption, is_typographic),
    ),
    ("captions with characters that do not show", |caption| signs(caption, does_not_show)),
    ("captions with letters beyond ASCII", |caption| signs(caption, |c| !c.is_ascii() && c.is_alphabetic())),
    ("captions with other signs beyond ASCII", |caption| {
        let is_named_above = |c: char| c.is_alphabetic() || is_typographic(c) || does_not_show(c);
        signs(caption, |c| !c.is_ascii() && !is_named_above(c))
    }),
    ("captions with empty tags (two commas in a row)", |caption| {
        let parts: Vec<&str> = caption.split(',').map(str::trim).collect();
        let inner = parts.get(1..parts.len().saturating_sub(1)).unwrap_or_default();
        inner.contains(&"").then(String::new)
    }),
    ("captions with a word twice in a row", |caption| {
        let words: Vec<&str> = caption.split_whitespace().collect();
        let twice =
            words.windows(2).find(|pair| pair[0] == pair[1] && pair[0].chars().all(char::is_alphabetic));
        twice.map(|pair| pair.join(" "))
    }),
    ("captions with words joined by underscores, as tagging programs write them", |caption| {
        caption.split([' ', ',']).find(|word| word.trim_matches('_').contains('_')).map(str::to_owned)
    }),
];

/// What is looked for in every picture's file and variants.
const IN_PICTURES: [(&str, IsOdd); 4] = [
    ("caption files that begin with a byte-order mark, which is passed over", |picture| {
        picture.file.as_ref().is_some_and(|file| file.has_byte_order_mark)
    }),
    ("caption files with Windows line ends, which are passed over", |picture| {
        picture.file.as_ref().is_some_and(|file| file.text.contains('\r'))
    }),
    ("caption files of several lines", |picture| {
        picture.file.as_ref().is_some_and(|file| file.lines().nth(1).is_some())
    }),
    ("pictures with the same variant twice", |picture| {
        let captions = &picture.captions;
        captions.iter().enumerate().any(|(at, caption)| captions[..at].contains(caption))
    }),
];

/// Every sort of oddity that was found.
pub fn of(captioned: &[Captioned]) -> Vec<Oddity> {
    let mut found = Vec::new();
    for (what, finds) in IN_CAPTIONS {
        let places = all(captioned).filter_map(|(picture, caption)| Some((picture, finds(caption)?)));
        found.extend(counted(what, places));
    }
    for (what, is_odd) in IN_PICTURES {
        let places = captioned.iter().filter(|picture| is_odd(picture));
        found.extend(counted(what, places.map(|picture| (picture, String::new()))));
    }
    found
}

fn counted<'a>(what: &str, mut places: impl Iterator<Item = (&'a Captioned, String)>) -> Option<Oddity> {
    let (picture, example) = places.next()?;
    Some(Oddity { what: what.to_owned(), count: 1 + places.count(), picture: picture.name.clone(), example })
}

/// The characters of `caption` that are of a sort, each once; those that do not show by their number.
fn signs(caption: &str, is_one: impl Fn(char) -> bool) -> Option<String> {
    let mut found: Vec<char> = caption.chars().filter(|c| is_one(*c)).collect();
    found.sort_unstable();
    found.dedup();
    let shown = |c: &char| if does_not_show(*c) { format!("U+{:04X}", u32::from(*c)) } else { c.to_string() };
    (!found.is_empty()).then(|| found.iter().map(shown).collect::<Vec<_>>().join(" "))
}

/// Quotes, dashes and dots that word processors put in the place of those of the keyboard.
fn is_typographic(c: char) -> bool {
    matches!(c, '‘'..='‟' | '–' | '—' | '…' | '′' | '″')
}

/// Control characters, spaces of other widths, marks without width, and the sign for a lost character.
fn does_not_show(c: char) -> bool {
    (c.is_control() && c != '\n')
        || (c.is_whitespace() && !c.is_ascii())
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fffd}' | '\u{ad}')
}
