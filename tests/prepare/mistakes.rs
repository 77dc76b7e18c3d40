//! Bad input: one line with the file and the cure, and everything else is done.

use super::folders::{Folders, files};
use std::process::Command;

#[test]
fn a_broken_picture_is_named_and_the_others_are_made() {
    let folders = Folders::with_three_pictures();
    folders.put("text.png", b"no picture at all");
    folders.put("empty.jpg", b"");
    let whole = std::fs::read(folders.source("b.jpg")).unwrap();
    folders.put("cut.jpg", &whole[..whole.len() / 2]);
    let said = folders.prepare(&[]);
    assert_eq!(said.code, 1);
    for (name, cause) in
        [("text.png", "is not a picture"), ("empty.jpg", "is an empty file"), ("cut.jpg", "")]
    {
        let line = said.err.lines().find(|line| line.starts_with("left out: ") && line.contains(name));
        let line = line.unwrap_or_else(|| panic!("{name} is not named: {}", said.err));
        assert!(line.contains(cause) && line.contains("; replace or remove it"), "{line}");
        assert!(!line.contains("skip_broken_images"), "that is a setting of training: {line}");
    }
    assert!(said.err.contains("3 pictures were left out"), "{}", said.err);
    assert!(said.out.contains("3 prepared, 3 left out"), "{}", said.out);
    assert!(folders.target("sub/c.png").exists());
}

#[test]
fn two_pictures_of_one_name_are_both_named() {
    let folders = Folders::with_three_pictures();
    folders.draw("a.jpg", 200, 160, 5);
    let said = folders.prepare(&[]);
    assert_eq!(said.code, 1);
    assert!(said.err.contains("would become a.png, and so would a.jpg"), "{}", said.err);
    assert!(said.err.contains("would become a.png, and so would a.png"), "{}", said.err);
    assert!(!folders.target("a.png").exists() && folders.target("b.png").exists());
}

#[test]
fn a_picture_that_is_too_small_is_left_out_until_it_may_be_enlarged() {
    let folders = Folders::with_three_pictures();
    folders.draw("small.png", 40, 30, 2);
    for _ in 0..2 {
        let said = folders.prepare(&[]);
        assert_eq!(said.code, 1);
        assert!(
            said.err.contains("small.png: is too small") && said.err.contains("--max-enlarge"),
            "{}",
            said.err
        );
    }
    assert!(!folders.target("small.png").exists());
    folders.prepared(&["--max-enlarge", "3"]);
    assert!(folders.crop("small.png").width() >= 64);
    assert_eq!(folders.record()["small.png"]["doubts"][0]["kind"], "enlarged");
}

#[test]
fn folders_that_would_mix_originals_and_crops_are_refused() {
    let folders = Folders::with_three_pictures();
    let before = files(&folders.source(""));
    let source = folders.source("").display().to_string();
    for target in ["", "crops", "sub/../.."] {
        let target = folders.source(target).display().to_string();
        let mut command = Command::new(env!("CARGO_BIN_EXE_sargent"));
        let output = command.args(["prepare", &source, &target]).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{target}: {said}");
        assert!(said.contains("hint: "), "{said}");
    }
    assert_eq!(files(&folders.source("")), before);
}

#[test]
fn a_wrong_command_line_is_refused_in_words() {
    let folders = Folders::with_three_pictures();
    for (options, part) in [
        (&["--sizes", "1000x1000"][..], "1008x1008"),
        (&["--sizes", "big"], "WIDTHxHEIGHT"),
        (&["--focus", "dog"], "saliency"),
        (&["--tight", "2"], "at most 1"),
        (&["--max-enlarge", "0"], "above 0"),
        (&["--format", "gif"], "png"),
        (&["--quality", "0"], "1..=100"),
        (&["--background", "blurple"], "#rrggbb"),
    ] {
        let said = folders.prepare(&[&["--threads", "1"], options].concat());
        assert_eq!(said.code, 2, "{options:?}: {}", said.err);
        assert!(said.err.contains(part), "{options:?} should say {part}: {}", said.err);
    }
    assert!(!folders.target("").exists());
}

#[test]
fn a_folder_without_pictures_is_refused() {
    let folders = Folders::new();
    let said = folders.prepare(&[]);
    assert_eq!(said.code, 2);
    assert!(said.err.contains("holds no pictures"), "{}", said.err);
    assert!(!folders.target("").exists());
}

#[test]
fn a_folder_with_the_crops_of_another_is_refused() {
    let folders = Folders::with_three_pictures();
    folders.prepared(&[]);
    let other = folders.source("sub").display().to_string();
    let target = folders.target("").display().to_string();
    let output =
        Command::new(env!("CARGO_BIN_EXE_sargent")).args(["prepare", &other, &target]).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("holds the crops of"), "{said}");
}
