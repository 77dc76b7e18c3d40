//! overrides.json, and what is only said.

use super::folders::Folders;
use serde_json::{Value, json};

fn wish(folders: &Folders, wishes: &Value) {
    let text = json!({ "pictures": wishes }).to_string();
    std::fs::write(folders.target("overrides.json"), text).unwrap();
}

#[test]
fn wishes_are_obeyed_by_the_next_run_and_nothing_else_is_made() {
    let folders = Folders::with_three_pictures();
    folders.prepared(&[]);
    let others = std::fs::read(folders.target("sub/c.png")).unwrap();
    wish(
        &folders,
        &json!({
            "a.png": { "window": [100, 20, 80, 80], "size": "64x64" },
            "b.jpg": { "skip": true },
            "nowhere.png": { "skip": true },
        }),
    );
    let said = folders.prepared(&[]);
    assert!(said.out.contains("1 prepared, 1 unchanged, 1 excluded"), "{}", said.out);
    assert!(said.err.contains("there is no picture `nowhere.png`"), "{}", said.err);
    let entry = &folders.record()["a.png"];
    assert_eq!(entry["box"], json!({ "x": 100.0, "y": 20.0, "width": 80.0, "height": 80.0 }));
    assert_eq!((&entry["reason"], folders.crop("a.png").dimensions()), (&json!("chosen by hand"), (64, 64)));
    assert!(!folders.target("b.png").exists(), "an excluded picture is not trained");
    assert!(folders.target("b.txt").exists(), "nothing is deleted");
    assert_eq!(std::fs::read(folders.target("sub/c.png")).unwrap(), others);
    let again = folders.prepared(&[]);
    assert!(again.out.contains("0 prepared, 2 unchanged, 1 excluded"), "{}", again.out);
    std::fs::remove_file(folders.target("overrides.json")).unwrap();
    folders.prepared(&[]);
    assert!(folders.target("b.png").exists(), "it comes back");
}

#[test]
fn a_point_of_focus_is_inside_the_crop() {
    let folders = Folders::new();
    folders.draw("wide.png", 900, 100, 1);
    std::fs::create_dir_all(folders.target("")).unwrap();
    wish(&folders, &json!({ "wide.png": { "focus": [850, 50] } }));
    folders.prepared(&[]);
    let entry = &folders.record()["wide.png"];
    let edge = |name: &str| entry["box"][name].as_f64().unwrap();
    assert!(edge("x") <= 850.0 && edge("x") + edge("width") >= 850.0, "{entry}");
    assert_eq!(entry["focus"]["kind"], "given");
}

#[test]
fn a_wish_that_cannot_be_granted_is_one_line() {
    let folders = Folders::with_three_pictures();
    std::fs::create_dir_all(folders.target("")).unwrap();
    wish(&folders, &json!({ "a.png": { "window": [150, 0, 80, 80] } }));
    let said = folders.prepare(&[]);
    assert_eq!(said.code, 1);
    assert!(said.err.contains("a.png: has the window 150,0 80x80 in overrides.json"), "{}", said.err);
}

#[test]
fn overrides_that_are_not_understood_stop_the_run() {
    let folders = Folders::with_three_pictures();
    std::fs::create_dir_all(folders.target("")).unwrap();
    for text in ["{", r#"{ "pictures": { "a.png": { "windw": [0, 0, 9, 9] } } }"#] {
        std::fs::write(folders.target("overrides.json"), text).unwrap();
        let said = folders.prepare(&[]);
        assert_eq!(said.code, 2, "{}", said.err);
        assert!(said.err.contains("overrides.json") && said.err.contains("hint: "), "{}", said.err);
    }
    assert!(!folders.target("a.png").exists());
}

#[test]
fn a_dry_run_says_all_and_writes_nothing() {
    let folders = Folders::with_three_pictures();
    let said = folders.prepared(&["--dry-run"]);
    assert!(said.out.contains("3 would be prepared"), "{}", said.out);
    assert!(said.out.contains("sub/c.png") && said.out.contains("96x64"), "{}", said.out);
    assert!(!folders.target("").exists());
    let json: Value = serde_json::from_str(&folders.prepared(&["--dry-run", "--json"]).out).unwrap();
    assert_eq!(json["pictures"].as_array().unwrap().len(), 3);
}

#[test]
fn a_report_and_json_say_what_was_made() {
    let folders = Folders::with_three_pictures();
    folders.draw("twin.png", 200, 160, 1);
    let said = folders.prepared(&["--report", "--timings"]);
    assert!(said.out.lines().any(|line| line.starts_with("a.png") && line.contains("96x64")), "{}", said.out);
    assert!(said.out.contains("the same file as twin.png") && said.out.contains("decode"), "{}", said.out);
    let json: Value = serde_json::from_str(&folders.prepared(&["--json"]).out).unwrap();
    assert_eq!((&json["unchanged"], &json["left_out"]), (&json!(4), &json!([])));
}
