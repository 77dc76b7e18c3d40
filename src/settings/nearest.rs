//! The known name that is nearest to a misspelt one.

/// The candidate with the smallest edit distance to `word`; the first of equals.
pub fn nearest<'a>(word: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let word: Vec<char> = word.chars().take(LONGEST).collect();
    candidates.min_by_key(|candidate| edit_distance(&word, &candidate.chars().collect::<Vec<_>>()))
}

/// No name is nearly as long; a longer word is compared by its beginning.
const LONGEST: usize = 80;

/// Insertions, deletions and replacements that turn `a` into `b`, a swap of two neighbours counting as one
/// (optimal string alignment).
fn edit_distance(a: &[char], b: &[char]) -> usize {
    let mut before = vec![0; b.len() + 1];
    let mut previous: Vec<usize> = (0..=b.len()).collect();
    for i in 0..a.len() {
        let mut current = vec![i + 1];
        for j in 0..b.len() {
            let replaced = previous[j] + usize::from(a[i] != b[j]);
            let mut best = replaced.min(previous[j + 1] + 1).min(current[j] + 1);
            if i > 0 && j > 0 && a[i] == b[j - 1] && a[i - 1] == b[j] {
                best = best.min(before[j - 1] + 1);
            }
            current.push(best);
        }
        before = std::mem::replace(&mut previous, current);
    }
    previous[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn distance(a: &str, b: &str) -> usize {
        edit_distance(&a.chars().collect::<Vec<_>>(), &b.chars().collect::<Vec<_>>())
    }

    #[test]
    fn distances_are_the_textbook_ones() {
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("abc", ""), 3);
        assert_eq!(distance("lora_rnak", "lora_rank"), 1);
        assert_eq!(distance("same", "same"), 0);
    }

    #[test]
    fn the_nearest_name_wins() {
        let names = ["lora_rank", "lora_alpha", "seed"];
        assert_eq!(nearest("lora_rnk", names.into_iter()), Some("lora_rank"));
        assert_eq!(nearest("sede", names.into_iter()), Some("seed"));
        assert_eq!(nearest("x", std::iter::empty()), None);
    }
}
