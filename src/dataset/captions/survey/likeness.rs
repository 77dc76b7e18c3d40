//! Captions that are the same, and captions that are nearly so.

use super::vocabulary::words_of;
use super::{Captioned, all};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};

/// Captions that are alike, and the pictures that have them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Alike {
    /// The different captions.
    pub captions: Vec<String>,
    /// The pictures.
    pub pictures: Vec<String>,
}

/// Words from which on captions are alike when they differ in one: in short ones that word is what matters.
const LONG: usize = 12;

/// Groups of equal captions, and of different ones that are alike; the largest first.
pub fn groups(captioned: &[Captioned]) -> (Vec<Alike>, Vec<Alike>) {
    let mut pictures: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (picture, caption) in all(captioned) {
        pictures.entry(caption).or_default().insert(&picture.name);
    }
    let equal = pictures.iter().filter(|(_, names)| names.len() > 1);
    let equal = equal.map(|(caption, names)| alike(&[caption], names.iter().copied()));
    let different: Vec<&str> = pictures.keys().copied().collect();
    let similar = joined(&different).into_iter().map(|group| {
        let captions: Vec<&str> = group.into_iter().map(|index| different[index]).collect();
        let names: BTreeSet<&str> = captions.iter().flat_map(|caption| &pictures[caption]).copied().collect();
        alike(&captions, names.into_iter())
    });
    // Variants of one picture may well be alike.
    let similar = similar.filter(|group| group.pictures.len() > 1);
    (largest_first(equal.collect()), largest_first(similar.collect()))
}

fn alike<'a>(captions: &[&str], pictures: impl Iterator<Item = &'a str>) -> Alike {
    Alike {
        captions: captions.iter().map(|caption| (*caption).to_owned()).collect(),
        pictures: pictures.map(str::to_owned).collect(),
    }
}

fn largest_first(mut groups: Vec<Alike>) -> Vec<Alike> {
    groups.sort_by_key(|group| std::cmp::Reverse(group.pictures.len()));
    groups
}

/// Groups of two and more captions that have a signature in common, by their indices.
fn joined(captions: &[&str]) -> Vec<Vec<usize>> {
    let mut group: Vec<usize> = (0..captions.len()).collect();
    let mut seen: HashMap<(usize, u64), usize> = HashMap::new();
    for (index, caption) in captions.iter().enumerate() {
        for signature in signatures(caption) {
            let other = *seen.entry(signature).or_insert(index);
            let (a, b) = (root(&mut group, index), root(&mut group, other));
            group[a.max(b)] = a.min(b);
        }
    }
    let mut groups: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for index in 0..captions.len() {
        groups.entry(root(&mut group, index)).or_default().push(index);
    }
    groups.into_values().filter(|group| group.len() > 1).collect()
}

/// The first caption of the group that `index` is in.
fn root(group: &mut [usize], mut index: usize) -> usize {
    while group[index] != index {
        group[index] = group[group[index]];
        index = group[index];
    }
    index
}

/// What captions that are alike have in common: their words in any order, and in long captions all but one of them.
///
/// Words are added up as hashes, so that leaving one out is a subtraction.
fn signatures(caption: &str) -> Vec<(usize, u64)> {
    let words: Vec<u64> = words_of(caption).map(|word| hash(&word)).collect();
    let sum = words.iter().fold(0u64, |sum, word| sum.wrapping_add(*word));
    let mut signatures = vec![(words.len(), sum)];
    if words.len() >= LONG {
        signatures.extend(words.iter().map(|word| (words.len() - 1, sum.wrapping_sub(*word))));
    }
    signatures
}

fn hash(word: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    word.hash(&mut hasher);
    hasher.finish()
}
