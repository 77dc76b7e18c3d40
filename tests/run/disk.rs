//! A disk that fills up and numbers that go wrong while the run is under way: it stops, and the last checkpoint is
//! good.

use super::surgery::{TRANSFORMER, operate};
use super::workshop::{Ended, Workshop, files};
use std::process::Command;

const LATEST: &str = "resume_from_checkpoint=latest";

/// Runs `sargent train` on a disk of its own, `$OUT`, which somebody else fills once there is a checkpoint; what was
/// on the disk then lies in the output folder. Needs the right to mount.
const ON_A_FULL_DISK: &str = r#"
mount -t tmpfs -o size=24m none "$OUT" || exit 77
"$@" & run=$!
until [ -e "$OUT/checkpoint-4" ] || ! kill -0 $run; do sleep 0.01; done
head -c 100m /dev/zero > "$OUT/ballast" 2>/dev/null
wait $run; code=$?
rm "$OUT/ballast"
cp -a "$OUT/." "$COPY"
exit $code"#;

/// Runs `sargent train` with files limited to so few bytes that no state can be written.
const WITH_SMALL_FILES: &str = r#"trap '' XFSZ; ulimit -f 120; exec "$@""#;

/// Runs `sargent train` as `script` says, itself run by `runner`.
fn in_a_shell(workshop: &Workshop, runner: &str, script: &str, set: &[&str]) -> Ended {
    let train = workshop.command("train", set);
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("exec {runner} sh -c \"$0\" sh \"$@\""), script]);
    shell.arg(train.get_program()).args(train.get_args()).env("RAYON_NUM_THREADS", "1");
    Ended::of(shell.env("OUT", workshop.path("disk")).env("COPY", workshop.output()))
}

#[test]
fn a_full_disk_stops_the_run_and_spares_the_last_checkpoint() {
    let workshop = Workshop::new();
    std::fs::create_dir(workshop.path("disk")).unwrap();
    std::fs::create_dir(workshop.output()).unwrap();
    let places = ["output_dir", "cache_dir"].map(|key| {
        let folder = if key == "cache_dir" { "cache" } else { "disk" };
        format!("{key}={}", workshop.path(folder).display())
    });
    let set = [&places[0], &places[1], "max_train_steps=100000", "checkpointing_steps=2"];
    let ended = in_a_shell(&workshop, "unshare -m", ON_A_FULL_DISK, &set);
    if matches!(ended.code, Some(77 | 127)) || ended.stderr.contains("unshare: ") {
        // Without the right to mount. The next test fills no disk, but fails the same writes.
        return;
    }
    ended.broke(&["the disk is full", "the last good checkpoint is "]);
    let last = *workshop.checkpoints().last().unwrap();
    assert!(last >= 4);
    assert!(files(&workshop.output()).keys().all(|path| !path.to_str().unwrap().contains(".writing-")));
    let set = [&places[1], LATEST, &format!("max_train_steps={}", last + 2)];
    let stderr = workshop.trained(&set);
    assert!(stderr.contains(&format!("going on after step {last}")), "{stderr}");
    assert_eq!(workshop.metrics().len() as u64, last + 2);
}

#[test]
fn a_write_that_fails_leaves_no_half_file() {
    let workshop = Workshop::new();
    workshop.trained(&["max_train_steps=2"]);
    let before = files(&workshop.output().join("checkpoint-2"));
    let set = [LATEST, "max_train_steps=4"];
    let ended = in_a_shell(&workshop, "env", WITH_SMALL_FILES, &set);
    ended.broke(&["checkpoint-2"]);
    assert_eq!(workshop.checkpoints(), [2]);
    assert!(files(&workshop.output().join("checkpoint-2")) == before);
    assert!(files(&workshop.output()).keys().all(|path| !path.to_str().unwrap().contains(".writing-")));
    workshop.trained(&set);
    assert_eq!(workshop.checkpoints(), [2, 4]);
}

#[test]
fn a_disk_too_small_for_the_plan_is_refused() {
    let workshop = Workshop::new();
    let set = ["checkpoints_total_limit=0", "checkpointing_steps=1", "max_train_steps=4000000000"];
    workshop.train(&set).refused(&["the disk has room for", "checkpoints_total_limit"]);
    assert!(!workshop.output().exists());
}

#[test]
fn a_loss_that_is_no_number_names_step_pictures_and_checkpoint() {
    let workshop = Workshop::new();
    let copy = workshop.copy_of_model("model");
    let model = format!("pretrained_model_name_or_path={}", copy.display());
    workshop.trained(&[&model, "max_train_steps=4"]);
    let before = files(&workshop.output().join("checkpoint-4"));
    // Numbers that are finite, and whose squares are not.
    operate(&copy.join(TRANSFORMER), "proj_out.bias", |tensor| {
        tensor.bytes.chunks_mut(2).for_each(|value| value.copy_from_slice(&0x7f00_u16.to_le_bytes()));
    });
    let ended = workshop.train(&[&model, LATEST, "max_train_steps=8"]);
    ended.broke(&["step 5", "not a finite number", ".png", "learning_rate", "checkpoint-4"]);
    assert_eq!(workshop.checkpoints(), [2, 4]);
    assert!(files(&workshop.output().join("checkpoint-4")) == before);
    let afresh = workshop.train(&[&model, "overwrite=true"]);
    afresh.broke(&["step 1", "there is no checkpoint yet"]);
}
