//! Runs with several data sets: how often each is shown, in which views, and what is learnt from it.

use super::workshop::{Ended, Workshop};
use serde_json::{Value, json};
use std::path::Path;

/// Width and height of pictures, and how many there are.
type Kind = ((u32, u32), usize);

/// Writes small pictures without captions: so many of each size, named by it.
fn write_pictures(folder: &Path, kinds: &[Kind]) {
    std::fs::create_dir_all(folder).unwrap();
    for &((width, height), count) in kinds {
        let first = folder.join(format!("{width}x{height} 0.png"));
        image::RgbImage::from_pixel(width, height, image::Rgb([90, 40, 70])).save(&first).unwrap();
        for index in 1..count {
            std::fs::copy(&first, folder.join(format!("{width}x{height} {index}.png"))).unwrap();
        }
    }
}

/// The pictures of a data set of 476 pictures in `counts.len()` shapes, and the shapes.
fn shaped(counts: &[usize]) -> (Vec<Kind>, Vec<f64>) {
    let side = |index: usize| 32 + 3 * index as u32;
    let sizes: Vec<_> =
        (0..counts.len()).map(|index| (side(index), side(counts.len() - 1 - index))).collect();
    let aspects = sizes.iter().map(|&(width, height)| f64::from(width) / f64::from(height)).collect();
    (sizes.into_iter().zip(counts.iter().copied()).collect(), aspects)
}

#[test]
fn a_plan_tells_the_tutorials_numbers_and_simpletuners() {
    let one: &[usize] = &[476];
    let eight: &[usize] = &[90, 80, 75, 70, 60, 45, 36, 20];
    let ten: &[usize] = &[200, 101, 63, 41, 31, 17, 13, 7, 2, 1];
    for (counts, sampled) in [(one, 480), (eight, 492), (ten, 510)] {
        let workshop = Workshop::new();
        let (kinds, aspects) = shaped(counts);
        write_pictures(&workshop.path("many"), &kinds);
        workshop.write_data(
            &json!([{ "id": "many", "instance_data_dir": workshop.path("many"), "repeats": "5",
            "caption_strategy": "instanceprompt", "instance_prompt": "a", "resolution": 256,
            "crop": true, "crop_aspect": "closest", "crop_aspect_buckets": aspects }]),
        );
        let set = ["max_train_steps=24000", "train_batch_size=6"];
        let plan = workshop.plan(&set);
        assert_eq!(plan["buckets"].as_array().unwrap().len(), counts.len(), "{}", plan["buckets"]);
        assert_eq!(plan["steps_per_epoch"], json!(476));
        let readings = &plan["readings"];
        assert_eq!(
            (&readings["formula_rounded_down"], &readings["formula_rounded_up"]),
            (&json!(396), &json!(397))
        );
        assert_eq!(readings["simpletuner_estimate"], json!(476));
        assert_eq!(readings["simpletuner_sampler"], json!(sampled));
        assert_eq!(plan["data_sets"][0]["passes"], json!(6));
        assert_eq!(plan["data_sets"][0]["passes_in_kohya"], json!(5));
        let text = Ended::of(&mut workshop.command("plan", &set)).succeeded().stdout;
        for part in [
            "repeats 5 = 6 passes",
            "5 in kohya",
            "396 or 397",
            &format!("{sampled} by SimpleTuner's sampler"),
        ] {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
    }
}

#[test]
fn every_set_is_shown_as_often_as_planned() {
    let workshop = Workshop::new();
    let pictures = workshop.path("pictures");
    workshop.write_data(&json!([
        { "id": "often", "instance_data_dir": pictures, "num_repeats": 3 },
        { "id": "seldom", "instance_data_dir": pictures, "probability": 0.5, "resolution": 128 },
    ]));
    let set = ["max_train_steps=0", "num_train_epochs=2", "train_batch_size=1"];
    let plan = workshop.plan(&set);
    assert_eq!((&plan["steps_per_epoch"], &plan["total_steps"]), (&json!(21), &json!(42)));
    let told = workshop.trained(&set);
    assert!(told.contains("num_repeats 3 = 3 passes here and in kohya"), "{told}");
    let pictures = workshop.lines("pictures.jsonl");
    let steps = workshop.lines("samples.jsonl");
    let mut shown = vec![0; pictures.len()];
    for sample in steps.iter().flat_map(|step| step["samples"].as_array().unwrap()) {
        shown[sample["sample"].as_u64().unwrap() as usize] += 1;
    }
    for (picture, count) in pictures.iter().zip(shown) {
        let expected = if picture["data_set"] == "often" { 6 } else { 1 };
        assert_eq!(count, expected, "{picture}");
    }
}

#[test]
fn views_are_encoded_ahead_and_told_apart() {
    let workshop = Workshop::new();
    let set = |more: Value| {
        let mut set = json!({ "id": "style", "instance_data_dir": workshop.path("pictures") });
        set.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        workshop.write_data(&json!([set]));
        workshop.trained(&["max_train_steps=12", "train_batch_size=6", "overwrite=true"])
    };
    assert!(set(json!({})).contains("encoded 6 pictures"));
    let plain = workshop.metrics();
    assert!(set(json!({ "flip_aug": true })).contains("encoded 6 pictures"), "the plain view was there");
    assert_ne!(workshop.metrics(), plain);
    let views: Vec<u64> = workshop
        .lines("samples.jsonl")
        .iter()
        .flat_map(|step| step["samples"].as_array().unwrap().clone())
        .map(|sample| sample["view"].as_u64().unwrap())
        .collect();
    assert!(views.contains(&0) && views.contains(&1) && views.iter().all(|&view| view < 2));
    let picture = &workshop.lines("pictures.jsonl")[0];
    assert_eq!(picture["views"][1]["change"]["mirrored"], json!(true));
    assert_eq!(picture["views"][0]["change"]["degrees"], json!(0.0));
    let told = set(json!({ "flip_aug": true, "random_hue": 0.1, "random_rotation": 3 }));
    assert!(told.contains("encoded 18 pictures"), "{told}");
}

#[test]
fn regularisation_keeps_the_model_or_weighs_less() {
    let workshop = Workshop::new();
    let train = |more: Value, set: &[&str]| {
        let mut data = json!({ "id": "style", "instance_data_dir": workshop.path("pictures") });
        data.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        workshop.write_data(&json!([data]));
        workshop.trained(&[set, &["max_train_steps=2", "overwrite=true"]].concat());
        workshop.metrics().iter().map(|step| step["loss"].as_f64().unwrap()).collect::<Vec<_>>()
    };
    let plain = train(json!({}), &[]);
    // The adapters begin at zero, so that the model with them predicts what it predicts without.
    assert_eq!(train(json!({ "is_regularisation_data": true }), &[]), [0.0, 0.0]);
    let weighed = train(json!({ "is_reg": true }), &["prior_loss_weight=0.25"]);
    assert!((weighed[0] - 0.25 * plain[0]).abs() < 1e-6 * plain[0], "{weighed:?} {plain:?}");
    let weighed = train(json!({ "loss_weight": 3 }), &["prior_loss_weight=0.25"]);
    assert!((weighed[0] - 3.0 * plain[0]).abs() < 1e-6 * plain[0], "{weighed:?} {plain:?}");
    let dropped = train(json!({ "caption_dropout_rate": 1 }), &[]);
    assert_eq!(dropped, train(json!({}), &["caption_dropout_probability=1"]));
    assert_ne!(dropped, plain);
}

#[test]
fn a_regularised_model_stays_nearer_to_itself() {
    let workshop = Workshop::new();
    let pictures = workshop.path("pictures");
    let style = json!({ "id": "style", "instance_data_dir": pictures });
    let kept = json!({ "id": "kept", "instance_data_dir": pictures, "is_regularisation_data": true });
    workshop.write_data(&json!([style, kept]));
    let set = ["max_train_steps=24", "train_batch_size=1", "learning_rate=3e-3"];
    let plan = workshop.plan(&set);
    let told = workshop.trained(&set);
    let held = told.split_once("memory held: ").unwrap().1.split_once(' ').unwrap().0;
    assert_eq!(held, plan["memory"]["training_peak"].to_string(), "the memory is as planned");
    let pictures = workshop.lines("pictures.jsonl");
    let losses = |id: &str| -> Vec<f64> {
        let of_set = |sample: &Value| pictures[sample["sample"].as_u64().unwrap() as usize]["data_set"] == id;
        let samples = workshop.lines("samples.jsonl");
        let samples = samples.iter().flat_map(|step| step["samples"].as_array().unwrap().clone());
        samples.filter(of_set).map(|sample| sample["loss"].as_f64().unwrap()).collect()
    };
    let (style, kept) = (losses("style"), losses("kept"));
    let mean = |losses: &[f64]| losses.iter().sum::<f64>() / losses.len() as f64;
    assert!(kept.iter().skip(2).all(|&loss| loss > 0.0), "{kept:?}");
    assert!(mean(&kept) < 0.2 * mean(&style), "{kept:?} {style:?}");
}

#[test]
fn data_sets_that_cannot_be_honoured_are_refused_by_name() {
    let workshop = Workshop::new();
    for (more, parts) in [
        (json!({ "crop": true, "crop_style": "face" }), &["\"style\"", "crop_style", "sargent prepare"][..]),
        (json!({ "minimum_image_size": 4096 }), &["pictures", "no picture is left", "4096"]),
        (json!({ "minimum_aspect_ratio": 50 }), &["pictures", "no picture is left", "below 50"]),
        (json!({ "probability": 0 }), &["\"style\"", "probability", "disabled"]),
        (json!({ "repeats": 1, "num_repeats": 2 }), &["\"style\"", "num_repeats", "repeats n"]),
    ] {
        let mut set = json!({ "id": "style", "instance_data_dir": workshop.path("pictures") });
        set.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        workshop.write_data(&json!([set]));
        workshop.train(&[]).refused(parts);
        assert!(!workshop.output().exists());
    }
}
