//! Which prompts are drawn while training.

use crate::dataset::{Sample, with_trigger};
use serde_json::{Map, Value};
use std::collections::BTreeSet;

/// Captions that are drawn.
const DRAWN: usize = 3;
/// What no picture is likely to show: whether what is learnt carries over to it is what a LoRA is for.
const NEW_SUBJECT: &str = "a lighthouse by the sea at dusk";
/// A name's length, in words and in letters.
const LONGEST_NAME: (usize, usize) = (5, 40);

/// A few captions as they are trained, far from each other in the alphabet, and a subject of their own; by name.
pub fn from_captions(samples: &[Sample], trigger: Option<&str>) -> Map<String, Value> {
    let captions: BTreeSet<&str> =
        samples.iter().filter_map(|sample| sample.captions.first()).map(String::as_str).collect();
    let captions: Vec<&str> = captions.into_iter().collect();
    let count = captions.len().min(DRAWN);
    let middle_of = |part: usize| captions.get((2 * part + 1) * captions.len() / (2 * count));
    let chosen = (0..count).filter_map(middle_of).map(|caption| (*caption).to_owned());
    let new_subject = trigger.map_or(NEW_SUBJECT.to_owned(), |word| with_trigger(word, NEW_SUBJECT));
    named(chosen.chain([new_subject]))
}

/// Names that do as file names, made of the prompts' first words.
fn named(prompts: impl IntoIterator<Item = String>) -> Map<String, Value> {
    let mut named = Map::new();
    for prompt in prompts {
        let words = prompt.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
        let words: Vec<&str> = words.take(LONGEST_NAME.0).collect();
        let mut name: String = words.join("_").to_lowercase().chars().take(LONGEST_NAME.1).collect();
        if name.is_empty() || named.contains_key(&name) {
            name = format!("{name}_{}", named.len() + 1);
        }
        named.insert(name, prompt.into());
    }
    named
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_do_as_file_names_and_differ() {
        let named = named(["A star: red!".to_owned(), "a star, red".to_owned(), "…".to_owned()]);
        assert_eq!(
            named.keys().map(String::as_str).collect::<Vec<_>>(),
            ["a_star_red", "a_star_red_2", "_3"]
        );
    }

    #[test]
    fn a_new_subject_is_called_by_the_trigger_word() {
        let drawn = from_captions(&[], Some("k4s4,"));
        assert_eq!(drawn.values().next().unwrap(), "k4s4, a lighthouse by the sea at dusk");
    }
}
