//! Captions from every source, trained on; and what `sargent captions` says about them.

use super::workshop::{Ended, Workshop, model, sargent};
use serde_json::{Value, json};
use std::path::PathBuf;

/// What the runs have in common.
const SHORT: [&str; 2] = ["max_train_steps=3", "disable_benchmark=true"];

/// The captions of the workshop's pictures by their names.
fn captions(workshop: &Workshop) -> Vec<(String, String)> {
    let files = std::fs::read_dir(workshop.path("pictures")).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = files.filter(|path| path.extension().unwrap() == "txt").collect();
    files.sort();
    let caption = |path: &PathBuf| {
        let name = path.with_extension("png").file_name().unwrap().to_string_lossy().into_owned();
        (name, std::fs::read_to_string(path).unwrap().trim().to_owned())
    };
    files.iter().map(caption).collect()
}

/// Lets the workshop's run read captions as `keys` say.
fn set_data(workshop: &Workshop, keys: Value) {
    let mut set = json!({ "id": "style", "instance_data_dir": workshop.path("pictures") });
    set.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
    std::fs::write(workshop.path("data.json"), json!([set]).to_string()).unwrap();
}

fn report(workshop: &Workshop, arguments: &[&str]) -> Ended {
    Ended::of(sargent().arg("captions").arg(workshop.path("pictures")).args(arguments))
}

#[test]
fn every_source_of_the_same_captions_trains_the_same() {
    let workshop = Workshop::new();
    let texts = captions(&workshop);
    assert_eq!(texts.len(), 6);
    workshop.trained(&SHORT);
    let expected = workshop.metrics();
    let stem = |name: &str| name.trim_end_matches(".png").to_owned();
    let rows = |row: &dyn Fn(&str, &str) -> String| {
        texts.iter().map(|(name, text)| row(name, text)).collect::<Vec<_>>().join("\n")
    };
    let jsonl = rows(&|name, text| json!({"file_name": name, "text": text}).to_string());
    let csv = format!("id,description\n{}", rows(&|name, text| format!("{},\"{text}\"", stem(name))));
    let kohya: serde_json::Map<String, Value> = texts
        .iter()
        .map(|(name, text)| (format!("/elsewhere/{}", stem(name)), json!({"caption": text})))
        .collect();
    std::fs::write(workshop.path("pictures/metadata.jsonl"), jsonl).unwrap();
    std::fs::write(workshop.path("captions.csv"), csv).unwrap();
    std::fs::write(workshop.path("meta_cap.json"), Value::Object(kohya).to_string()).unwrap();
    for (name, _) in &texts {
        std::fs::remove_file(workshop.path("pictures").join(name).with_extension("txt")).unwrap();
    }
    for keys in [
        json!({ "caption_strategy": "metadata" }),
        json!({ "caption_strategy": "huggingface" }),
        json!({ "caption_strategy": "csv", "parquet": { "path": workshop.path("captions.csv") } }),
        json!({ "caption_strategy": "parquet", "csv_file": workshop.path("captions.csv") }),
        json!({ "caption_strategy": "metadata", "metadata_file": workshop.path("meta_cap.json") }),
    ] {
        set_data(&workshop, keys.clone());
        let set = [&SHORT[..], &["overwrite=true"]].concat();
        workshop.trained(&set);
        assert_eq!(workshop.metrics(), expected, "{keys}");
    }
}

#[test]
fn what_is_done_to_captions_is_what_is_trained() {
    let workshop = Workshop::new();
    let (first, _) = captions(&workshop).swap_remove(0);
    let file = workshop.path("pictures").join(&first).with_extension("txt");
    std::fs::write(&file, "k4s4, an orange, round circle").unwrap();
    workshop.trained(&SHORT);
    let expected = workshop.metrics();
    std::fs::write(&file, "an awful, round circle").unwrap();
    set_data(&workshop, json!({ "trigger_word": "k4s4,", "caption_filter_list": ["s/awful/orange/"] }));
    workshop.trained(&[&SHORT[..], &["overwrite=true"]].concat());
    assert_eq!(workshop.metrics(), expected);
}

#[test]
fn a_table_that_is_wrong_is_refused_before_anything_is_written() {
    let workshop = Workshop::new();
    set_data(&workshop, json!({ "caption_strategy": "metadata" }));
    workshop.train(&SHORT).refused(&["holds none of metadata.jsonl", "metadata_file"]);
    for (table, parts) in [
        ("file_name,text\n00_orange_circle.png,a\n", ["has no caption", "01_blue_square.png"]),
        ("file_name,words\n00_orange_circle.png,a\n", ["file_name, words", "caption_column"]),
        ("file_name,text\nnone.png,a\n", ["no row names a picture", "`none.png`"]),
        ("file_name,text\n00_orange_circle,a\n00_orange_circle,b\n", ["line 3", "line 2"]),
    ] {
        std::fs::write(workshop.path("pictures/metadata.csv"), table).unwrap();
        workshop.train(&SHORT).refused(&parts);
        Ended::of(&mut workshop.command("plan", &[])).refused(&parts);
    }
    set_data(&workshop, json!({ "caption_filter_list": [".*"] }));
    workshop.train(&SHORT).refused(&["`.*` empties it", "caption_filter_list"]);
    assert!(!workshop.output().exists());
}

#[test]
fn captions_of_a_folder_are_described() {
    let workshop = Workshop::new();
    let said = report(&workshop, &["--trigger", "k4s4", "--model", model().to_str().unwrap()]).succeeded();
    assert!(said.stderr.is_empty(), "{}", said.stderr);
    for part in [
        "pictures     6",
        "captions     6",
        "`k4s4` is in 6 of 6",
        "CLIP-L",
        "tokens of 77",
        "T5",
        "none is cut",
    ] {
        assert!(said.stdout.contains(part), "{part}: {}", said.stdout);
    }
    let said = report(&workshop, &[]).succeeded().stdout;
    assert!(said.contains("not counted; --model PATH"), "{said}");

    let long = format!("k4s4, {}", "a star and ".repeat(90));
    std::fs::write(workshop.path("pictures/00_orange_circle.txt"), format!("{long}the end")).unwrap();
    std::fs::write(workshop.path("pictures/01_blue_square.txt"), "a square\n").unwrap();
    std::fs::write(workshop.path("pictures/02_white_triangle.txt"), "a square").unwrap();
    let model = model();
    let arguments = ["--json", "--trigger", "k4s4", "--model", model.to_str().unwrap()];
    let json = report(&workshop, &arguments).succeeded().stdout;
    let json: Value = serde_json::from_str(&json).unwrap();
    let set = &json[0];
    assert_eq!(set["trigger"]["missing"], json!(["01_blue_square.png", "02_white_triangle.png"]));
    assert_eq!(set["equal"][0]["captions"], json!(["a square"]));
    assert_eq!((&set["pictures"], &set["captions"]), (&json!(6), &json!(6)));
    for encoder in set["encoders"].as_array().unwrap() {
        let cut = &encoder["cut"][0];
        assert_eq!(cut["picture"], "00_orange_circle.png", "{encoder}");
        let lost = cut["lost"].as_str().unwrap();
        assert!(lost.ends_with("the end") && long.contains(&lost[..10]), "{encoder}");
    }
}

#[test]
fn captions_that_would_stop_a_run_end_with_an_error() {
    let workshop = Workshop::new();
    std::fs::remove_file(workshop.path("pictures/01_blue_square.txt")).unwrap();
    std::fs::write(workshop.path("pictures/02_white_triangle.txt"), " ").unwrap();
    let said = report(&workshop, &[]).refused(&["2 pictures have no usable caption", "01_blue_square.png"]);
    assert!(said.stdout.contains("02_white_triangle.txt: is empty"), "{}", said.stdout);
    report(&workshop, &["--set", "skip_broken_images=true"]).succeeded();
    report(&workshop, &["--strategy", "filename"]).succeeded();
    report(&workshop, &["--strategy", "metadata"]).refused(&["metadata.jsonl"]);
    report(&workshop, &["--strategy", "nonsense"]).refused(&["caption_strategy"]);
    Ended::of(sargent().arg("captions").arg(workshop.path("none"))).refused(&["none"]);
}

#[test]
fn captions_of_a_run_are_those_of_its_data_sets() {
    let workshop = Workshop::new();
    set_data(&workshop, json!({ "caption_strategy": "filename", "trigger_word": "k4s4" }));
    let said = Ended::of(&mut workshop.command("captions", &[])).succeeded().stdout;
    for part in
        ["style ", "caption_strategy filename", "`k4s4` is in 0 of 6", "it is put before", "tokens of 77"]
    {
        assert!(said.contains(part), "{part}: {said}");
    }
}
