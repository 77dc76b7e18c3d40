use super::*;
use crate::models::adapter::{Change, Matrix};
use crate::train::output_folder::OpenOptions;
use proptest::prelude::*;
use serde_json::json;

fn open(path: &Path) -> OutputFolder {
    let options = OpenOptions { resume: Resume::Latest, overwrite: false };
    OutputFolder::open(path, &options).unwrap()
}

fn modules() -> Vec<AdapterModule> {
    let module = "transformer_blocks.0.attn.to_q".to_owned();
    let a = Matrix { rows: 1, columns: 2, values: vec![0.5, -0.25] };
    let b = Matrix { rows: 2, columns: 1, values: vec![1.0, 2.0] };
    vec![AdapterModule { module, change: Change::LowRank { a, b, scale: 1.0 }, magnitude: None }]
}

fn save_values(output: &OutputFolder, step: u64, parameters: &[f32]) -> Result<()> {
    let tensors = [("parameters", parameters), ("moment1", &[1e-30, -0.0][..])];
    save(
        output,
        &Snapshot {
            step,
            modules: &modules(),
            dtype: SaveDtype::F32,
            header_settings: &json!({ "lora_rank": 1 }),
            tensors: &tensors,
            settings: &json!({ "seed": 7 }),
        },
    )
}

fn save_steps(output: &OutputFolder, steps: &[u64]) {
    steps.iter().for_each(|&step| save_values(output, step, &[step as f32]).unwrap());
}

/// (step, has_state) of every checkpoint, oldest first.
fn listed(output: &OutputFolder) -> Vec<(u64, bool)> {
    list(output).unwrap().iter().map(|checkpoint| (checkpoint.step, checkpoint.has_state)).collect()
}

fn names(output: &OutputFolder) -> Vec<String> {
    output_folder::entries(output.path()).unwrap().into_iter().map(|(name, _)| name).collect()
}

fn latest_step(output: &OutputFolder) -> Option<u64> {
    latest(output).unwrap().checkpoint.map(|checkpoint| checkpoint.step)
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

#[test]
fn what_is_saved_is_loaded_bit_for_bit() {
    let root = tempfile::tempdir().unwrap();
    let output = open(root.path());
    let values = [f32::MIN_POSITIVE, f32::from_bits(1), -0.0, f32::MAX, 0.1];
    save_values(&output, 12, &values).unwrap();
    let restored = load(&latest(&output).unwrap().checkpoint.unwrap()).unwrap();
    assert_eq!((restored.step, &restored.settings), (12, &json!({ "seed": 7 })));
    assert_eq!(restored.tensors.keys().collect::<Vec<_>>(), ["moment1", "parameters"]);
    assert_eq!(bits(&restored.tensors["parameters"]), bits(&values));
    assert_eq!(bits(&restored.tensors["moment1"]), bits(&[1e-30, -0.0]));
}

proptest! {
    #[test]
    fn any_finite_numbers_survive(words in proptest::collection::vec(any::<u32>(), 0..40)) {
        let values: Vec<f32> = words.into_iter().map(f32::from_bits).filter(|v| v.is_finite()).collect();
        let root = tempfile::tempdir().unwrap();
        let output = open(root.path());
        save_values(&output, 1, &values).unwrap();
        let restored = load(&named(&output, "checkpoint-1").unwrap()).unwrap();
        prop_assert_eq!(bits(&restored.tensors["parameters"]), bits(&values));
    }
}

#[test]
fn a_checkpoint_holds_the_lora_as_it_is_exported() {
    let root = tempfile::tempdir().unwrap();
    let output = open(root.path());
    save_steps(&output, &[3]);
    let elsewhere = tempfile::tempdir().unwrap();
    let exported = elsewhere.path().join(LORA_FILE);
    write_adapters(&exported, &modules(), SaveDtype::F32, &json!({ "lora_rank": 1 })).unwrap();
    let kept = std::fs::read(output.checkpoint(3).join(LORA_FILE)).unwrap();
    assert_eq!(kept, std::fs::read(exported).unwrap());
    assert_eq!(names(&output), [".lock", "checkpoint-3"]);
}

#[test]
fn numbers_that_are_not_finite_are_not_saved() {
    let root = tempfile::tempdir().unwrap();
    let output = open(root.path());
    for broken in [f32::NAN, f32::INFINITY] {
        let error = save_values(&output, 5, &[0.0, broken]).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Training);
        assert!(error.place.contains("step 5") && error.place.contains("parameters"), "{error}");
    }
    assert_eq!(names(&output), [".lock"]);
}

#[test]
fn steps_are_ordered_as_numbers() {
    let root = tempfile::tempdir().unwrap();
    let output = open(root.path());
    save_steps(&output, &[1000, 200, 90]);
    for other in ["checkpoint-", "checkpoint-007", "checkpoint-+8", "checkpoint-1e3", "checkpoint-9x"] {
        std::fs::create_dir(root.path().join(other)).unwrap();
    }
    assert_eq!(listed(&output), [(90, true), (200, true), (1000, true)]);
    assert_eq!(latest_step(&output), Some(1000));
}

#[test]
fn a_failed_write_leaves_older_checkpoints_and_nothing_else() {
    let root = tempfile::tempdir().unwrap();
    let output = open(root.path());
    save_steps(&output, &[1]);
    let before = names(&output);
    // Writing to /dev/full fails as writing to a full disk does.
    let error = publish(&output, 2, |folder| {
        files::replace_bytes(&folder.join(LORA_FILE), b"half")?;
        std::fs::write("/dev/full", b"x").map_err(|e| Error::io(&folder.join(STATE_FILE), &e))
    })
    .unwrap_err();
    assert_eq!((error.kind, error.cause.as_str()), (ErrorKind::Files, "the disk is full"));
    assert_eq!(names(&output), before);
    assert_eq!(latest_step(&output), Some(1));
}

#[test]
fn a_checkpoint_of_the_same_step_is_replaced() {
    let root = tempfile::tempdir().unwrap();
    let output = open(root.path());
    save_values(&output, 1, &[4.0]).unwrap();
    save_values(&output, 1, &[5.0]).unwrap();
    let restored = load(&named(&output, "checkpoint-1").unwrap()).unwrap();
    assert_eq!(restored.tensors["parameters"], [5.0]);
    assert_eq!(names(&output), [".lock", "checkpoint-1"]);
}

#[test]
fn nothing_there_is_a_fresh_start() {
    let root = tempfile::tempdir().unwrap();
    let output = open(root.path());
    let found = find(&output, &Resume::Latest).unwrap();
    assert!(found.checkpoint.is_none() && found.damaged.is_empty());
    save_steps(&output, &[1]);
    assert!(find(&output, &Resume::No).unwrap().checkpoint.is_none());
}

#[test]
fn a_damaged_checkpoint_is_reported_and_the_one_before_is_used() {
    type Damage = fn(&Path);
    let damages: [(Damage, &str); 5] = [
        (|folder| cut(&folder.join(STATE_FILE)), "torn"),
        (|folder| cut(&folder.join(ABOUT_FILE)), "damaged"),
        (|folder| cut(&folder.join(LORA_FILE)), "torn"),
        (|folder| flip_last_bit(&folder.join(STATE_FILE)), "checksum"),
        (|folder| std::fs::remove_file(folder.join(LORA_FILE)).unwrap(), "no such file"),
    ];
    for (damage, cause) in damages {
        let root = tempfile::tempdir().unwrap();
        let output = open(root.path());
        save_steps(&output, &[100, 200]);
        damage(&output.checkpoint(200));
        let found = latest(&output).unwrap();
        assert_eq!(found.checkpoint.unwrap().step, 100);
        assert_eq!(found.damaged.len(), 1);
        let report = &found.damaged[0];
        assert!(report.place.contains("checkpoint-200") && report.cause.contains(cause), "{report}");
        assert!(named(&output, "checkpoint-200").is_err());
    }
}

fn cut(file: &Path) {
    let bytes = std::fs::read(file).unwrap();
    std::fs::write(file, &bytes[..bytes.len() - 1]).unwrap();
}

fn flip_last_bit(file: &Path) {
    let mut bytes = std::fs::read(file).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(file, bytes).unwrap();
}

#[test]
fn a_state_of_another_format_or_step_is_refused() {
    for (from, to, cause) in
        [("\"format\": 1", "\"format\": 2", "format 2"), ("\"step\": 6", "\"step\": 7", "step 7")]
    {
        let root = tempfile::tempdir().unwrap();
        let output = open(root.path());
        save_steps(&output, &[6]);
        let about = output.checkpoint(6).join(ABOUT_FILE);
        let text = std::fs::read_to_string(&about).unwrap();
        std::fs::write(&about, text.replace(from, to)).unwrap();
        let error = named(&output, "checkpoint-6").unwrap_err();
        assert!(error.cause.contains(cause), "{error}");
    }
}

#[test]
fn checkpoints_of_which_none_can_be_resumed_are_not_a_fresh_start() {
    let root = tempfile::tempdir().unwrap();
    let output = open(root.path());
    save_steps(&output, &[1]);
    cut(&output.checkpoint(1).join(STATE_FILE));
    let error = latest(&output).unwrap_err();
    assert!(error.cause.contains("torn") && error.hint.contains("overwrite=true"), "{error}");
    remove_state(&list(&output).unwrap()[0]).unwrap();
    assert!(latest(&output).is_err());
}

#[test]
fn a_named_checkpoint_must_be_there_with_its_state() {
    let root = tempfile::tempdir().unwrap();
    let output = open(root.path());
    save_steps(&output, &[10, 20, 30]);
    prune(&output, 30, (0, 2), None).unwrap();
    assert_eq!(find(&output, &Resume::Named("checkpoint-20".into())).unwrap().checkpoint.unwrap().step, 20);
    for (wanted, cause) in [("checkpoint-40", "no such"), ("checkpoint-10", "LoRA alone"), ("", "no such")] {
        let error = named(&output, wanted).unwrap_err();
        assert!(error.cause.contains(cause), "{error}");
        assert!(error.hint.contains("checkpoint-20, checkpoint-30"), "{error}");
    }
}

#[test]
fn pruning_keeps_the_newest_and_the_state_of_the_newest() {
    let root = tempfile::tempdir().unwrap();
    let output = open(root.path());
    for step in [200, 400, 600, 800, 1000] {
        save_steps(&output, &[step]);
        prune(&output, step, (4, 2), None).unwrap();
    }
    assert_eq!(listed(&output), [(400, false), (600, false), (800, true), (1000, true)]);
    assert!(output.checkpoint(400).join(LORA_FILE).exists());
    assert!(!output.checkpoint(400).join(STATE_FILE).exists());
    prune(&output, 1000, (0, 1), None).unwrap();
    assert_eq!(listed(&output), [(400, false), (600, false), (800, false), (1000, true)]);
    prune(&output, 1000, (1, 2), None).unwrap();
    assert_eq!(listed(&output), [(1000, true)]);
}

#[test]
fn checkpoints_of_a_course_that_was_left_go_when_the_new_one_has_a_checkpoint() {
    let root = tempfile::tempdir().unwrap();
    let output = open(root.path());
    save_steps(&output, &[100, 200, 300]);
    save_steps(&output, &[150]);
    prune(&output, 150, (5, 1), None).unwrap();
    assert_eq!(listed(&output), [(100, false), (150, true)]);
}

#[test]
fn a_state_half_removed_is_no_state_and_is_removed_wholly_later() {
    let root = tempfile::tempdir().unwrap();
    let output = open(root.path());
    save_steps(&output, &[1, 2]);
    std::fs::remove_file(output.checkpoint(1).join(ABOUT_FILE)).unwrap();
    assert_eq!(listed(&output), [(1, false), (2, true)]);
    prune(&output, 2, (5, 1), None).unwrap();
    assert!(!output.checkpoint(1).join(STATE_FILE).exists());
}

fn settings(json: Value) -> RunSettings {
    let mut all = json!({ "pretrained_model_name_or_path": "/m", "output_dir": "/o",
        "data_backend_config": "/d", "max_train_steps": 1000 });
    for (key, value) in json.as_object().unwrap() {
        all[key] = value.clone();
    }
    settings::parse_settings_bytes(all.to_string().as_bytes()).unwrap()
}

#[test]
fn the_planned_bytes_count_what_is_kept_and_what_is_being_written() {
    const MIB: u64 = 1 << 20;
    let planned = |json| planned_disk_bytes(1000, 1024, 1000, &settings(json));
    // Checkpoints at 500 and 1000 and perhaps one more at the end, all with their states, and the LoRA.
    assert_eq!(planned(json!({})), 4 * (2000 + MIB) + 3 * 3 * 4096);
    // One is kept, one is being written.
    let few = json!({ "checkpoints_total_limit": 1, "save_dtype": "fp32", "use_ema": true });
    assert_eq!(planned(few), 3 * (4000 + MIB) + 2 * 4 * 4096);
    // 100 and the last are kept; three have a state at a time.
    let all = json!({ "checkpoints_total_limit": 0, "checkpointing_steps": 10 });
    assert_eq!(planned(all), 102 * (2000 + MIB) + 3 * 3 * 4096);
    assert_eq!(planned(json!({ "checkpointing_steps": 0 })), 2 * (2000 + MIB) + 3 * 4096);
}
