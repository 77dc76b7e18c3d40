//! Running again: what is up to date stays, what others have changed stays, and a kill costs nothing.

use super::folders::{Folders, SIZES, drawing, files};
use std::time::{Duration, Instant};

#[test]
fn a_second_run_writes_nothing() {
    let folders = Folders::with_three_pictures();
    folders.put("metadata.csv", b"file_name,text\nb.jpg,x\n");
    folders.prepared(&[]);
    let before = folders.state();
    let said = folders.prepared(&[]);
    assert!(said.out.contains("0 prepared, 3 unchanged"), "{}", said.out);
    // A new time stamp alone changes no picture; the record takes note of it.
    folders.draw("a.png", 200, 160, 1);
    folders.prepared(&[]);
    let after = folders.state();
    for (path, state) in before.iter().filter(|(path, _)| !path.ends_with("prepare.json")) {
        if !path.ends_with("review.html") {
            assert_eq!(after.get(path), Some(state), "{}", path.display());
        }
    }
}

#[test]
fn only_what_changed_is_made_again() {
    let folders = Folders::with_three_pictures();
    folders.prepared(&[]);
    let before = folders.state();
    folders.draw("b.jpg", 160, 200, 9);
    folders.put("a.txt", b"a new caption\n");
    let said = folders.prepared(&[]);
    assert!(said.out.contains("1 prepared, 2 unchanged, 1 captions copied"), "{}", said.out);
    assert_eq!(folders.crop("b.png").dimensions(), (64, 64));
    assert_eq!(std::fs::read_to_string(folders.target("a.txt")).unwrap(), "a new caption\n");
    let after = folders.state();
    for name in ["a.png", "sub/c.png", "sub/c.txt"] {
        assert_eq!(before[&folders.target(name)], after[&folders.target(name)], "{name}");
    }
}

#[test]
fn other_options_make_everything_again() {
    let folders = Folders::with_three_pictures();
    folders.prepared(&[]);
    let said = folders.prepared(&["--sizes", "64x64"]);
    assert!(said.out.contains("3 prepared"), "{}", said.out);
    assert_eq!(folders.crop("a.png").dimensions(), (64, 64));
}

#[test]
fn a_crop_in_another_format_takes_the_place_of_the_first() {
    let folders = Folders::with_three_pictures();
    folders.prepared(&[]);
    let crop = std::fs::read(folders.target("a.png")).unwrap();
    let said = folders.prepared(&["--format", "jpeg"]);
    assert!(said.err.contains("a.png is no longer wanted and was moved to"), "{}", said.err);
    assert!(!folders.target("a.png").exists() && folders.target("a.jpg").exists());
    let kept = files(&folders.target(".prepare/aside"));
    assert!(kept.iter().any(|path| std::fs::read(path).unwrap() == crop), "nothing is deleted");
}

#[test]
fn what_was_changed_by_hand_stays() {
    let folders = Folders::with_three_pictures();
    folders.prepared(&[]);
    drawing(96, 64, 7).save(folders.target("a.png")).unwrap();
    std::fs::write(folders.target("a.txt"), "my own words").unwrap();
    let mine = std::fs::read(folders.target("a.png")).unwrap();
    folders.put("a.txt", b"new words of the source");
    let said = folders.prepare(&["--sizes", "64x64"]);
    assert_eq!(said.code, 1, "{}", said.err);
    assert!(said.err.contains("a.png: was made or changed by someone else"), "{}", said.err);
    assert!(said.err.contains("a.txt was changed by hand and stays"), "{}", said.err);
    assert_eq!(std::fs::read(folders.target("a.png")).unwrap(), mine);
    assert_eq!(std::fs::read(folders.target("a.txt")).unwrap(), b"my own words");
}

#[test]
fn a_file_of_someone_else_is_not_overwritten() {
    let folders = Folders::with_three_pictures();
    std::fs::create_dir_all(folders.target("")).unwrap();
    std::fs::write(folders.target("b.png"), "holiday").unwrap();
    let said = folders.prepare(&[]);
    assert_eq!(said.code, 1);
    assert!(said.err.contains("left out: ") && said.err.contains("someone else"), "{}", said.err);
    assert_eq!(std::fs::read(folders.target("b.png")).unwrap(), b"holiday");
    assert!(folders.target("a.png").exists());
}

#[test]
fn the_crop_of_a_picture_that_is_gone_stays_and_is_named() {
    let folders = Folders::with_three_pictures();
    folders.prepared(&[]);
    std::fs::remove_file(folders.source("a.png")).unwrap();
    for _ in 0..2 {
        let said = folders.prepared(&[]);
        assert!(
            said.err.contains("a.png is gone; its crop") && folders.target("a.png").exists(),
            "{}",
            said.err
        );
    }
    std::fs::remove_file(folders.target("a.png")).unwrap();
    assert!(folders.prepared(&[]).err.lines().all(|line| !line.contains("is gone")));
    assert!(!folders.record().contains_key("a.png"));
}

#[test]
fn a_run_that_is_killed_leaves_whole_files_and_the_next_goes_on() {
    let folders = Folders::new();
    for number in 0..60 {
        folders.draw(&format!("{number:02}.png"), 900, 700, number);
    }
    let mut child = folders.command(&[&SIZES[..], &["--threads", "1"]].concat()).spawn().unwrap();
    let (started, enough) = (Instant::now(), 8);
    let made = || files(&folders.target("")).iter().filter(|path| path.extension().is_some()).count();
    while made() < enough && started.elapsed() < Duration::from_secs(60) {
        std::thread::sleep(Duration::from_millis(1));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let crops = files(&folders.target(""));
    for crop in crops.iter().filter(|path| path.extension().is_some_and(|e| e == "png")) {
        assert_eq!(image::open(crop).unwrap().into_rgb8().height(), 64, "{}", crop.display());
    }
    // A write that was cut leaves a file under a name of its own.
    std::fs::write(folders.target(".writing-cut"), "half").unwrap();
    let said = folders.prepared(&[]);
    assert!(said.out.contains("unchanged"), "{}", said.out);
    assert_eq!(folders.record().len(), 60);
    let left = files(&folders.target(""));
    assert!(left.iter().all(|path| !path.to_string_lossy().contains(".writing-")), "{left:?}");
    assert!(!folders.target(".prepare/journal.jsonl").exists());
}
