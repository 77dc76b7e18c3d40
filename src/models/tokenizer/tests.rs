//! Expected ids are those of transformers (`tests/fixtures/tokenizers/make.py`).

use super::*;
use crate::error::ErrorKind;
use serde_json::Value;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn bundled(name: &str) -> PathBuf {
    root().join("assets/tiny-sd35").join(name)
}

/// A folder with some of the files of a bundled tokenizer.
fn part_of(name: &str, files: &[&str]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for file in files {
        std::fs::copy(bundled(name).join(file), folder.path().join(file)).unwrap();
    }
    folder
}

/// Calls `check` with each text and the ids that transformers gives it.
fn for_each_case(key: &str, mut check: impl FnMut(&str, Vec<i32>)) {
    let bytes = std::fs::read(root().join("tests/fixtures/tokenizers/ids.json")).unwrap();
    let cases: Vec<Value> = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(cases.len(), 31);
    for case in &cases {
        let ids = case[key].as_array().unwrap().iter().map(|id| id.as_i64().unwrap() as i32).collect();
        check(case["text"].as_str().unwrap(), ids);
    }
}

fn assert_clip(path: &Path, pad: PadToken, key: &str) {
    let tokenizer = ClipTokenizer::open(path, pad).unwrap();
    for_each_case(key, |text, ids| assert_eq!(tokenizer.encode(text).unwrap()[..], ids, "{text:?}"));
}

fn assert_t5(path: &Path) {
    let tokenizer = T5Tokenizer::open(path).unwrap();
    for_each_case("t5", |text, ids| assert_eq!(tokenizer.encode(text, ids.len()).unwrap(), ids, "{text:?}"));
}

#[test]
fn clip_ids_are_those_of_transformers() {
    assert_clip(&bundled("tokenizer"), PadToken::End, "clip_l");
    assert_clip(&bundled("tokenizer_2"), PadToken::Exclamation, "clip_g");
}

#[test]
fn vocabulary_and_merges_stand_for_the_same_tokenizer() {
    let files = ["vocab.json", "merges.txt", "special_tokens_map.json"];
    assert_clip(part_of("tokenizer", &files).path(), PadToken::End, "clip_l");
    assert_clip(part_of("tokenizer_2", &files).path(), PadToken::Exclamation, "clip_g");
}

#[test]
fn the_role_decides_the_padding_where_the_files_do_not() {
    let bare = part_of("tokenizer_2", &["vocab.json", "merges.txt"]);
    assert_clip(&bare.path().join("vocab.json"), PadToken::Exclamation, "clip_g");
    let bare = part_of("tokenizer", &["tokenizer.json"]);
    assert_clip(&bare.path().join("tokenizer.json"), PadToken::End, "clip_l");
}

#[test]
fn t5_ids_are_those_of_transformers() {
    assert_t5(&bundled("tokenizer_3"));
}

#[test]
fn a_sentencepiece_model_stands_for_the_same_tokenizer() {
    assert_t5(part_of("tokenizer_3", &["spiece.model", "tokenizer_config.json"]).path());
}

#[test]
fn long_texts_keep_their_end() {
    let text = "red ".repeat(200);
    let clip = ClipTokenizer::open(&bundled("tokenizer"), PadToken::End).unwrap();
    let ids = clip.encode(&text).unwrap();
    assert_eq!((ids[76], ids.iter().filter(|id| **id == clip.end_id()).count()), (clip.end_id(), 1));
    let t5 = T5Tokenizer::open(&bundled("tokenizer_3")).unwrap();
    let end = t5.encode("", 1).unwrap()[0];
    assert_eq!(t5.encode(&text, 20).unwrap()[19], end);
    assert!(t5.encode(&text, 0).is_err());
}

#[test]
fn bad_files_are_refused_by_name() {
    let refused = |result: crate::error::Result<()>, says: &str| {
        let error = result.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Weights);
        assert!(error.to_string().contains(says) && !error.cause.contains('\n'), "{error}");
    };
    let clip = |path: &Path| ClipTokenizer::open(path, PadToken::End).map(|_| ());
    let t5 = |path: &Path| T5Tokenizer::open(path).map(|_| ());

    let empty = tempfile::tempdir().unwrap();
    refused(clip(&empty.path().join("none")), "no such file");
    refused(clip(empty.path()), "vocab.json and merges.txt");
    refused(t5(empty.path()), "tokenizer.json or spiece.model");

    let folder = part_of("tokenizer", &["vocab.json"]);
    std::fs::write(folder.path().join("merges.txt"), "#version: 0.2\nonly-one\n").unwrap();
    refused(clip(folder.path()), "line 2");
    std::fs::write(folder.path().join("vocab.json"), "{\"a\": 0}").unwrap();
    std::fs::write(folder.path().join("merges.txt"), "#version: 0.2\n").unwrap();
    refused(clip(folder.path()), "lacks the special token");
    std::fs::write(folder.path().join("tokenizer.json"), "{").unwrap();
    refused(clip(folder.path()), "cannot be read");
}

#[test]
fn a_sentencepiece_model_cut_anywhere_never_panics() {
    let whole = std::fs::read(bundled("tokenizer_3").join("spiece.model")).unwrap();
    let folder = part_of("tokenizer_3", &["tokenizer_config.json"]);
    let path = folder.path().join("spiece.model");
    for length in (0..whole.len()).step_by(97) {
        std::fs::write(&path, &whole[..length]).unwrap();
        if let Ok(tokenizer) = T5Tokenizer::open(&path) {
            let _ = tokenizer.encode("a red circle", 8);
        }
    }
}

#[test]
fn a_text_fits_if_its_ids_do_and_is_cut_before_a_word() {
    let clip = ClipTokenizer::open(&bundled("tokenizer"), PadToken::End).unwrap();
    let t5 = T5Tokenizer::open(&bundled("tokenizer_3")).unwrap();
    let check = |text: &str, fit: Fit, ids: &[i32], end: i32| {
        if text.contains("<|") || text.contains("</s>") {
            return; // The end token inside a text hides where its ids end.
        }
        let used = 1 + ids.iter().position(|id| *id == end).unwrap();
        assert_eq!(used, fit.tokens.min(fit.limit), "{text:?}");
        assert_eq!(fit.cut_at.is_some(), fit.tokens > fit.limit, "{text:?}");
        if let Some(cut) = fit.cut_at {
            assert!(text.is_char_boundary(cut) && !text[..cut].ends_with(char::is_alphanumeric), "{text:?}");
        }
    };
    for_each_case("clip_l", |text, _| {
        check(text, clip.fit(text).unwrap(), &clip.encode(text).unwrap(), clip.end_id());
    });
    for_each_case("t5", |text, ids| {
        let fit = t5.fit(text, ids.len()).unwrap();
        check(text, fit, &t5.encode(text, ids.len()).unwrap(), t5.encode("", 1).unwrap()[0]);
    });
    let long = "star ".repeat(100);
    let fit = clip.fit(&long).unwrap();
    let each = (fit.tokens - 2) / 100;
    assert_eq!((fit.tokens, fit.limit), (100 * each + 2, 77));
    assert_eq!(fit.cut_at.unwrap(), 75 / each * "star ".len());
}
