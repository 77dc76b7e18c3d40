//! What the captions of a folder are like: how many, how long, which words, and what is odd about them.

mod likeness;
mod oddities;
mod vocabulary;

pub use likeness::Alike;
pub use oddities::Oddity;
pub use vocabulary::Vocabulary;

use super::{CaptionOptions, CaptionStrategy, Captions, PLACEHOLDER, TextFile, has_trigger, with_trigger};
use crate::dataset::scan;
use crate::error::{Error, Result};
use rayon::prelude::*;
use serde::Serialize;
use std::path::Path;

/// A picture and its captions as they are trained.
#[derive(Debug, Clone)]
pub struct Captioned {
    /// The picture's path in its folder.
    pub name: String,
    /// The variants.
    pub captions: Vec<String>,
    /// The text file from which they come, if they come from one.
    file: Option<TextFile>,
}

/// See the module's documentation. Pictures go by their paths in the folder.
#[derive(Debug, Clone, Serialize)]
pub struct Survey {
    /// Pictures in the folder.
    pub pictures: usize,
    /// Captions, variants counted each.
    pub captions: usize,
    /// Pictures with several variants.
    pub with_variants: usize,
    /// The most variants of a picture.
    pub most_variants: usize,
    /// Whether captions are in the main lists of tags.
    pub tag_lists: bool,
    /// The caption with the fewest words.
    pub shortest: Option<Length>,
    /// The caption with the most words.
    pub longest: Option<Length>,
    /// The trigger word, if one was asked for.
    pub trigger: Option<Trigger>,
    /// Captions that stand with several pictures, the most frequent first.
    pub equal: Vec<Alike>,
    /// Captions that differ in little: case, punctuation, the order of words, one word of many.
    pub alike: Vec<Alike>,
    /// How often words and tags stand in captions.
    pub vocabulary: Vocabulary,
    /// What is odd, each sort with how often and an example.
    pub oddities: Vec<Oddity>,
    /// Remarks on the folder and the source of captions.
    pub notes: Vec<String>,
    /// The pictures that have captions.
    #[serde(skip)]
    pub captioned: Vec<Captioned>,
    /// What is wrong with the caption of each other picture.
    #[serde(skip)]
    pub broken: Vec<Error>,
}

/// A caption and its length.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Length {
    /// Words.
    pub words: usize,
    /// The picture.
    pub picture: String,
    /// The caption.
    pub caption: String,
}

/// Where the trigger word is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Trigger {
    /// The word.
    pub word: String,
    /// Whether it is put before captions that lack it.
    pub added: bool,
    /// Captions that have it.
    pub present: usize,
    /// The pictures that have a caption without it.
    pub missing: Vec<String>,
}

impl Survey {
    /// Reads the captions of `folder`. `trigger` is the word that they should have; without it, that of `options`.
    ///
    /// # Errors
    /// No pictures, or a source of captions that cannot be read at all; what is wrong with the caption of one picture
    /// is counted in `broken`.
    pub fn new(options: &CaptionOptions, folder: &Path, trigger: Option<&str>) -> Result<Self> {
        let found = scan::pictures(folder)?;
        let written = CaptionOptions { trigger: None, ..options.clone() };
        let source = Captions::open(&written, folder, &found.pictures)?;
        let notes = found.notes.iter().chain(source.notes()).cloned().collect();
        let read: Vec<Result<Captioned>> =
            found.pictures.par_iter().map(|picture| captioned(picture, folder, &source)).collect();
        let (good, broken): (Vec<_>, Vec<_>) = read.into_iter().partition(Result::is_ok);
        let mut captioned: Vec<Captioned> = good.into_iter().filter_map(Result::ok).collect();
        let added = options.trigger.as_deref();
        let trigger = trigger.or(added).map(|word| where_it_is(word, added == Some(word), &captioned));
        if let Some(word) = added {
            let captions = captioned.iter_mut().flat_map(|picture| &mut picture.captions);
            captions.for_each(|caption| *caption = with_trigger(word, caption));
        }
        let broken = broken.into_iter().filter_map(Result::err).collect();
        Ok(Self { trigger, notes, broken, pictures: found.pictures.len(), ..Self::of(captioned) })
    }

    /// Of captions that were read.
    fn of(captioned: Vec<Captioned>) -> Self {
        let vocabulary = Vocabulary::of(all(&captioned).map(|(_, caption)| caption));
        let length = |(picture, caption): (&Captioned, &String)| Length {
            words: caption.split_whitespace().count(),
            picture: picture.name.clone(),
            caption: caption.clone(),
        };
        let (equal, alike) = likeness::groups(&captioned);
        Self {
            pictures: captioned.len(),
            captions: all(&captioned).count(),
            with_variants: captioned.iter().filter(|picture| picture.captions.len() > 1).count(),
            most_variants: captioned.iter().map(|picture| picture.captions.len()).max().unwrap_or(0),
            tag_lists: vocabulary.tag_lists(),
            shortest: all(&captioned).map(length).min_by_key(|length| length.words),
            // The first of equals in both, so that the report is the same each time.
            longest: all(&captioned).map(length).rev().max_by_key(|length| length.words),
            trigger: None,
            equal,
            alike,
            vocabulary,
            oddities: oddities::of(&captioned),
            notes: Vec::new(),
            captioned,
            broken: Vec::new(),
        }
    }
}

/// Every caption with its picture.
fn all(captioned: &[Captioned]) -> impl DoubleEndedIterator<Item = (&Captioned, &String)> {
    captioned.iter().flat_map(|picture| picture.captions.iter().map(move |caption| (picture, caption)))
}

fn captioned(picture: &Path, folder: &Path, source: &Captions) -> Result<Captioned> {
    let captions = source.of(picture)?;
    let file = match source.options.strategy {
        CaptionStrategy::TextFile => TextFile::beside(picture, source.options.extension.as_deref())?,
        _ => None,
    };
    let name = super::names::relative(folder, picture);
    Ok(Captioned { name, captions, file })
}

fn where_it_is(word: &str, added: bool, captioned: &[Captioned]) -> Trigger {
    let has = |caption: &String| caption.contains(PLACEHOLDER) || has_trigger(word, caption);
    let lacks = |picture: &&Captioned| !picture.captions.iter().all(has);
    Trigger {
        word: word.to_owned(),
        added,
        present: all(captioned).filter(|(_, caption)| has(caption)).count(),
        missing: captioned.iter().filter(lacks).map(|picture| picture.name.clone()).collect(),
    }
}

#[cfg(test)]
mod tests;
