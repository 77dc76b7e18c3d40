//! The survey of small folders.

use super::super::tests::Folder;
use super::*;

fn options() -> CaptionOptions {
    CaptionOptions::new(CaptionStrategy::TextFile)
}

/// A folder of pictures with these captions, called `0.png` and on.
fn folder(captions: &[&str]) -> Folder {
    let folder = Folder::new();
    for (index, caption) in captions.iter().enumerate() {
        folder.write(&format!("{index}.png"), "").write(&format!("{index}.txt"), caption);
    }
    folder
}

fn survey(captions: &[&str]) -> Survey {
    Survey::new(&options(), &folder(captions).path(""), None).unwrap()
}

#[test]
fn pictures_captions_and_variants_are_counted() {
    let folder = folder(&["a cat\na red cat", "a big dog", ""]);
    folder.write("3.png", "");
    let survey = Survey::new(&options(), &folder.path(""), None).unwrap();
    assert_eq!((survey.pictures, survey.captions, survey.captioned.len(), survey.broken.len()), (4, 3, 2, 2));
    assert_eq!((survey.with_variants, survey.most_variants), (1, 2));
    assert_eq!(survey.shortest.unwrap().caption, "a cat");
    let longest = survey.longest.unwrap();
    assert_eq!((longest.words, &longest.picture[..], &longest.caption[..]), (3, "0.png", "a red cat"));
}

#[test]
fn the_trigger_word_is_looked_for_before_it_is_added() {
    let folder = folder(&["k4s4 cat", "a dog", "[trigger] cow"]);
    let look = |options: &CaptionOptions, word| Survey::new(options, &folder.path(""), word).unwrap();
    let asked = look(&options(), Some("k4s4"));
    let trigger = asked.trigger.unwrap();
    assert_eq!((trigger.present, trigger.missing, trigger.added), (2, vec!["1.png".to_owned()], false));
    assert_eq!(asked.captioned[1].captions, ["a dog"]);
    let set = look(&CaptionOptions { trigger: Some("k4s4".into()), ..options() }, None);
    let trigger = set.trigger.unwrap();
    assert_eq!((trigger.present, trigger.missing.len(), trigger.added), (2, 1, true));
    let captions: Vec<_> = set.captioned.iter().map(|picture| &picture.captions[0][..]).collect();
    assert_eq!(captions, ["k4s4 cat", "k4s4 a dog", "k4s4 cow"]);
}

#[test]
fn equal_captions_and_captions_alike_are_grouped() {
    let long = "one two three four five six seven eight nine ten eleven";
    let (longer, other) = (format!("{long} twelve"), format!("{long} dozen"));
    let survey =
        survey(&["a cat", "a cat", "a cat", "A cat.", "cat, a", "a dog", "a cow", "a cow", &longer, &other]);
    let names = |group: &Alike| group.pictures.join(" ");
    assert_eq!(survey.equal.iter().map(names).collect::<Vec<_>>(), ["0.png 1.png 2.png", "6.png 7.png"]);
    assert_eq!(
        survey.alike.iter().map(names).collect::<Vec<_>>(),
        ["0.png 1.png 2.png 3.png 4.png", "8.png 9.png"]
    );
    assert_eq!(survey.alike[0].captions, ["A cat.", "a cat", "cat, a"]);
}

#[test]
fn words_and_tags_are_counted_once_a_caption() {
    let survey = survey(&["1girl, red hair, red dress", "1girl, Red Hair, smile,", "solo, 1girl, tree"]);
    assert!(survey.tag_lists);
    assert_eq!(survey.vocabulary.tags[..2], [("1girl".to_owned(), 3), ("red hair".to_owned(), 2)]);
    assert_eq!(survey.vocabulary.words[1..3], [("hair".to_owned(), 2), ("red".to_owned(), 2)]);
    assert!(!self::survey(&["a cat, which sits on a mat, and looks at a dog", "a dog"]).tag_lists);
}

#[test]
fn what_is_odd_is_found_with_an_example() {
    for (caption, what, example) in [
        ("a “cat”", "typographic quotes", "“ ”"),
        ("a\u{a0}cat\u{200b}", "do not show", "U+00A0 U+200B"),
        ("ein Kätzchen", "letters beyond ASCII", "ä"),
        ("a cat ★", "other signs beyond ASCII", "★"),
        ("a, , b", "empty tags", ""),
        ("a cat cat", "a word twice", "cat cat"),
        ("long_hair, solo", "underscores", "long_hair"),
        ("a [trigger] cat", "[trigger]", ""),
        ("\u{feff}a cat", "byte-order mark", ""),
        ("a cat\r\n", "Windows line ends", ""),
        ("a cat\na dog", "several lines", ""),
        ("a cat\na cat", "same variant twice", ""),
    ] {
        let found = survey(&["a plain caption", caption]).oddities;
        let oddity = found.iter().find(|oddity| oddity.what.contains(what));
        let oddity = oddity.unwrap_or_else(|| panic!("{caption:?}: {found:?}"));
        assert_eq!((oddity.count, &oddity.picture[..], &oddity.example[..]), (1, "1.png", example));
    }
    assert_eq!(survey(&["a plain caption, it's fine", "another - (one)"]).oddities, []);
}
