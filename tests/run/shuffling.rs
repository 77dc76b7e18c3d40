//! Captions that read differently each time: what is encoded when, and that nothing depends on it.

use super::workshop::{Ended, Workshop, files, signal, wait_until};
use serde_json::Value;

const SHUFFLE: [&str; 4] = [
    "shuffle_caption=true",
    "keep_tokens=1",
    "caption_tag_dropout_rate=0.3",
    "caption_dropout_probability=0.1",
];

/// A workshop whose captions have several parts each.
fn workshop() -> Workshop {
    let workshop = Workshop::new();
    for (number, path) in files(&workshop.path("pictures")).into_keys().enumerate() {
        if path.extension().is_some_and(|extension| extension == "txt") {
            std::fs::write(path, format!("k4s4, shape {number}, red, small, old, tall\n")).unwrap();
        }
    }
    workshop
}

/// Texts that a run said to have encoded between epochs, as (texts, epoch, first step, last step).
fn encoded(stderr: &str) -> Vec<[u64; 4]> {
    let lines = stderr.lines().filter(|line| line.contains(" captions of epoch "));
    let numbers = |line: &str| -> Vec<u64> {
        let (_, said) = line.split_once("encoded ").unwrap();
        let (said, _) = said.split_once(", in ").unwrap();
        said.split(|c: char| !c.is_ascii_digit()).filter_map(|number| number.parse().ok()).collect()
    };
    lines.map(|line| numbers(line).try_into().unwrap()).collect()
}

fn losses(workshop: &Workshop) -> Vec<Value> {
    workshop.metrics().into_iter().map(|step| step["loss"].clone()).collect()
}

#[test]
fn texts_are_encoded_before_each_epoch_and_then_forgotten() {
    let workshop = workshop();
    // Six pictures of three buckets, one at a time: six steps an epoch.
    let set = [&SHUFFLE[..3], &["train_batch_size=1", "modulation_steps=1", "max_train_steps=15"]].concat();
    let stderr = workshop.trained(&set);
    // The empty text alone is known beforehand.
    assert!(stderr.contains("encoded 6 pictures and 1 texts"), "{stderr}");
    let encoded = encoded(&stderr);
    let stretches: Vec<_> = encoded.iter().map(|said| [said[1], said[2], said[3]]).collect();
    assert_eq!(stretches, [[1, 1, 6], [2, 7, 12], [3, 13, 15]], "{stderr}");
    // Six tags, of which one stays: hardly ever do two of six read alike.
    assert!(
        encoded.iter().all(|said| said[0] <= 6) && encoded[0][0] >= 5 && encoded[2][0] <= 3,
        "{encoded:?}"
    );
    assert!(!workshop.output().join("epoch-texts").exists());
}

#[test]
fn the_steps_made_ahead_and_the_size_of_groups_change_nothing() {
    let workshop = workshop();
    // Seventy-two appearances an epoch: with a large arena, sixteen texts are encoded together, else eight.
    let data = std::fs::read_to_string(workshop.path("data.json")).unwrap();
    std::fs::write(workshop.path("data.json"), data.replace("\"id\"", "\"repeats\":11,\"id\"")).unwrap();
    let set = [&SHUFFLE[..], &["max_train_steps=12", "seed=5", "disable_benchmark=true"]].concat();
    workshop.trained(&[&set[..], &["modulation_steps=1"]].concat());
    let expected = (workshop.lora(), losses(&workshop));
    let drawing = ["validation_prompt=a star", "validation_resolution=256x256"];
    for other in [&["modulation_steps=3"][..], &["modulation_steps=32"], &drawing] {
        std::fs::remove_dir_all(workshop.output()).unwrap();
        workshop.trained(&[&set[..], other].concat());
        assert_eq!(losses(&workshop), expected.1, "{other:?}");
        assert!(workshop.lora() == expected.0, "{other:?}");
    }
    // And another seed is another run.
    std::fs::remove_dir_all(workshop.output()).unwrap();
    workshop.trained(&[&set[..], &["seed=6"]].concat());
    assert_ne!(losses(&workshop), expected.1);
}

#[test]
fn each_part_of_the_wording_reaches_the_training() {
    let workshop = workshop();
    let run = |set: &[&str]| {
        let _ = std::fs::remove_dir_all(workshop.output());
        workshop.trained(&[&["max_train_steps=6", "train_batch_size=4"], set].concat());
        losses(&workshop)
    };
    let plain = run(&[]);
    // All parts kept in their place: the same texts, whether encoded before or between.
    assert_eq!(run(&["shuffle_caption=true", "keep_tokens=9"]), plain);
    assert_eq!(run(&["caption_tag_dropout_rate=0.5", "keep_tokens=9"]), plain);
    let mut all = vec![plain];
    for set in [
        &["shuffle_caption=true"][..],
        &["shuffle_caption=true", "keep_tokens=2"],
        &["caption_tag_dropout_rate=0.5"],
        &["shuffle_caption=true", "caption_separator=space"],
    ] {
        let losses = run(set);
        assert!(!all.contains(&losses), "{set:?}");
        all.push(losses);
    }
}

#[test]
fn a_plan_counts_what_is_then_held_and_encoded() {
    let workshop = workshop();
    let drawing = ["validation_prompt=a star", "validation_resolution=64x64"];
    for more in [&[][..], &drawing, &["recompute=lean", "train_batch_size=1"]] {
        let _ = std::fs::remove_dir_all(workshop.output());
        let set = [&SHUFFLE[..3], more, &["max_train_steps=7", "modulation_steps=1"]].concat();
        let plan = workshop.plan(&set);
        let part = |name: &str| plan["memory"][name].as_u64().unwrap();
        assert!(part("encoding_arena") > 0 && part("encoding_arena") <= part("arena"));
        let stderr = workshop.trained(&set);
        let (_, held) = stderr.split_once("memory held: ").unwrap();
        let held: u64 = held.split(' ').next().unwrap().parse().unwrap();
        assert_eq!(held, part("training_peak"), "{set:?}");
        let said = encoded(&stderr);
        assert_eq!(said[0][0], plan["captions"]["first_epoch"].as_u64().unwrap(), "{plan}");
        assert_eq!(plan["captions"]["an_epoch_at_most"], 6);
        assert_eq!(plan["captions"]["before_training"], if more == drawing { 2 } else { 1 });
    }
    assert_eq!(workshop.plan(&[])["captions"]["an_epoch_at_most"], 0);
    assert_eq!(workshop.plan(&[])["memory"]["encoding_arena"], 0);
}

#[test]
fn a_data_set_may_shuffle_while_another_does_not() {
    let workshop = workshop();
    let folder = workshop.path("pictures");
    let sets = serde_json::json!([
        { "id": "tags", "instance_data_dir": folder, "caption_shuffle": { "enable": true, "position_start": 1 } },
        { "id": "names", "instance_data_dir": folder, "caption_strategy": "filename" },
    ]);
    std::fs::write(workshop.path("data.json"), sets.to_string()).unwrap();
    let stderr = workshop.trained(&["max_train_steps=4", "train_batch_size=8"]);
    assert!(stderr.contains("and 7 texts"), "six names and the empty text: {stderr}");
    assert_eq!(encoded(&stderr)[0][1], 1);
}

#[test]
fn a_signal_between_epochs_writes_a_checkpoint_and_stops() {
    let workshop = workshop();
    let set =
        [&SHUFFLE[..], &["max_train_steps=400", "train_batch_size=1", "checkpointing_steps=1000"]].concat();
    let run = workshop.begin(&set);
    let metrics = workshop.output().join("metrics.jsonl");
    let lines = || std::fs::read_to_string(&metrics).unwrap_or_default().lines().count();
    wait_until("an epoch", || lines() >= 12);
    signal(&run, "TERM");
    let ended = Ended::from(run.wait_with_output().unwrap()).succeeded();
    assert!(ended.stderr.contains(&format!("stopped after step {}", lines())), "{}", ended.stderr);
    assert_eq!(workshop.checkpoints().last(), Some(&(lines() as u64)));
    let end = format!("max_train_steps={}", lines() + 8);
    let stderr = workshop.trained(&[&set[..], &[&end, "resume_from_checkpoint=latest"]].concat());
    assert!(stderr.contains("going on after step"), "{stderr}");
    assert!(!workshop.output().join("epoch-texts").exists());
}

#[test]
fn encoders_are_left_out_and_the_run_repeats() {
    let workshop = workshop();
    let run = |set: &[&str]| {
        let _ = std::fs::remove_dir_all(workshop.output());
        workshop.trained(&[&["max_train_steps=6"], set].concat());
        losses(&workshop)
    };
    let all = [
        run(&[]),
        run(&["clip_l_dropout_rate=1"]),
        run(&["clip_g_dropout_rate=1"]),
        run(&["t5_dropout_rate=1"]),
        run(&["t5_dropout_rate=0.5", "modulation_steps=1"]),
    ];
    for (index, losses) in all.iter().enumerate() {
        assert!(!all[..index].contains(losses), "{index}");
    }
    assert_eq!(run(&["t5_dropout_rate=0.5", "modulation_steps=4"]), all[4]);
}

#[test]
fn held_out_pictures_are_compared_with_captions_that_stand_still() {
    let workshop = workshop();
    // At a learning rate of almost nothing, only another text could change the loss.
    let set = ["eval_share=0.4", "eval_steps=1", "max_train_steps=4", "learning_rate=1e-30"];
    workshop.trained(&[&SHUFFLE[..], &set].concat());
    let text = std::fs::read_to_string(workshop.output().join("evaluation.jsonl")).unwrap();
    let losses: Vec<Value> =
        text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["loss"].clone()).collect();
    assert!(losses.len() >= 4 && losses.windows(2).all(|pair| pair[0] == pair[1]), "{losses:?}");
}

#[test]
fn going_back_reads_the_same_texts_again() {
    let workshop = workshop();
    let watched = ["eval_share=0.3", "eval_steps=2", "guard=roll_back", "guard_rise=0", "guard_patience=2"];
    let set =
        ["learning_rate=2e-2", "checkpointing_steps=2", "checkpoints_total_limit=0", "max_train_steps=16"];
    let set = [&SHUFFLE[..], &watched, &set].concat();
    let stderr = workshop.trained(&set);
    assert!(stderr.contains("going back to step"), "{stderr}");
    assert_eq!(workshop.metrics().len(), 16);
}
