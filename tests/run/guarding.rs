//! Held-out pictures, and what the guard does when a run goes wrong.

use super::workshop::Workshop;
use serde_json::Value;

const HELD_OUT: [&str; 2] = ["eval_share=0.3", "eval_steps=4"];

/// Step and loss of every evaluation in the output folder.
fn evaluations(workshop: &Workshop) -> Vec<(u64, f64)> {
    let text = std::fs::read_to_string(workshop.output().join("evaluation.jsonl")).unwrap();
    let read = |line: &str| {
        let line: Value = serde_json::from_str(line).unwrap();
        assert_eq!(line["by_sigma"].as_array().unwrap().len(), 4);
        (line["step"].as_u64().unwrap(), line["loss"].as_f64().unwrap())
    };
    text.lines().map(read).collect()
}

#[test]
fn held_out_pictures_are_evaluated_and_not_trained_on() {
    let workshop = Workshop::new();
    let said = workshop.trained(&HELD_OUT);
    let names = std::fs::read_to_string(workshop.output().join("held_out.txt")).unwrap();
    assert_eq!(names.lines().count(), 2);
    let steps: Vec<u64> = evaluations(&workshop).iter().map(|(step, _)| *step).collect();
    assert_eq!(steps, [0, 4, 8]);
    assert!(said.contains("held-out loss"), "{said}");
    let plan = workshop.plan(&HELD_OUT);
    let pictures: u64 =
        plan["buckets"].as_array().unwrap().iter().map(|bucket| bucket["pictures"].as_u64().unwrap()).sum();
    assert_eq!(pictures, 4);

    let all = Workshop::new();
    all.trained(&[]);
    assert!(!all.output().join("held_out.txt").exists() && !all.output().join("evaluation.jsonl").exists());
}

#[test]
fn the_held_out_loss_is_comparable_between_runs_and_steps() {
    let losses = |more: &[&str]| {
        let workshop = Workshop::new();
        workshop.trained(&[&HELD_OUT[..], more].concat());
        evaluations(&workshop)
    };
    let plain = losses(&[]);
    assert_eq!(plain, losses(&[]));
    assert_eq!(plain, losses(&["recompute=lean"]));
    let other = losses(&["learning_rate=1e-2", "train_batch_size=3"]);
    // B is zero in the beginning, so every run starts at the base model's loss; sums are formed in another order.
    assert!((plain[0].1 - other[0].1).abs() < 1e-6 && (plain[2].1 - other[2].1).abs() > 1e-5);
    let frozen = losses(&["learning_rate=0"]);
    assert!(frozen.iter().all(|(_, loss)| *loss == frozen[0].1));
}

#[test]
fn what_evaluating_needs_is_planned() {
    let workshop = Workshop::new();
    let said = workshop.trained(&[&HELD_OUT[..], &["train_batch_size=1", "recompute=store"]].concat());
    let plan = workshop.plan(&[&HELD_OUT[..], &["train_batch_size=1", "recompute=store"]].concat());
    assert!(plan["memory"]["evaluation_arena"].as_u64().unwrap() > 0, "{}", plan["memory"]);
    let held = said.lines().find(|line| line.contains("memory held")).unwrap();
    assert!(held.contains(&format!("arena {}", plan["memory"]["arena"])), "{held}");
}

/// A run whose learning rate rises until it is far too high.
const TOO_FAST: [&str; 5] =
    ["max_train_steps=40", "learning_rate=0.1", "lr_warmup_steps=40", "eval_steps=2", "guard_patience=2"];

/// Such a run with this guard; what it says.
fn too_fast(workshop: &Workshop, guard: &[&str]) -> String {
    workshop.trained(&[&TOO_FAST[..], &["eval_share=0.3"], guard].concat())
}

fn is_finished(workshop: &Workshop) -> bool {
    workshop.output().join("pytorch_lora_weights.safetensors").exists()
}

#[test]
fn a_run_that_goes_wrong_is_told_or_stopped() {
    let workshop = Workshop::new();
    let said = too_fast(&workshop, &["guard=off"]);
    assert!(!said.contains("above its lowest") && is_finished(&workshop), "{said}");

    let workshop = Workshop::new();
    let said = too_fast(&workshop, &["guard=warn"]);
    assert!(said.contains("above its lowest") && is_finished(&workshop), "{said}");

    let workshop = Workshop::new();
    let said = too_fast(&workshop, &["guard=stop"]);
    assert!(said.contains("stopped by the guard") && !is_finished(&workshop), "{said}");
    // The best checkpoint was kept whole, although two newer ones have their state.
    let good = said.lines().find_map(|line| line.split("the last good checkpoint is ").nth(1)).unwrap();
    assert!(std::path::Path::new(good).join("state.json").exists(), "{good}");
    assert!(workshop.checkpoints().len() > 2);
}

#[test]
fn a_run_that_goes_wrong_goes_back_and_on_more_slowly() {
    let workshop = Workshop::new();
    let said = too_fast(&workshop, &["guard=roll_back", "guard_lr_factor=0.25", "guard_rollbacks=9"]);
    assert!(said.contains("going back to step") && is_finished(&workshop), "{said}");
    let metrics = workshop.metrics();
    let steps: Vec<u64> = metrics.iter().map(|line| line["step"].as_u64().unwrap()).collect();
    assert_eq!(steps, (1..=40).collect::<Vec<_>>(), "every step is on record once");
    let backs = said.matches("going back to step").count() as i32;
    let rate = metrics[39]["lr"].as_f64().unwrap();
    assert!((rate / (0.1 * 39.0 / 40.0 * 0.25f64.powi(backs)) - 1.0).abs() < 1e-9, "{rate} after {backs}");

    let limited = Workshop::new();
    let said = too_fast(&limited, &["guard=roll_back", "guard_rollbacks=0"]);
    assert!(said.contains("stopped by the guard") && !said.contains("going back"), "{said}");
}

#[test]
fn a_healthy_run_is_left_alone() {
    let workshop = Workshop::new();
    let said = workshop.trained(&[&HELD_OUT[..], &["max_train_steps=40", "guard=stop"]].concat());
    assert!(is_finished(&workshop), "{said}");
}
