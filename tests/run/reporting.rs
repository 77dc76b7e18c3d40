//! `report.html`: what it says while a run goes on, at its end, and when it is written again.

use super::workshop::{Ended, Workshop, sargent, wait_until};
use serde_json::Value;

const DRAWING: [&str; 4] = [
    "validation_prompt=a </script> & \"red\" star 猫",
    "validation_resolution=64x64",
    "validation_num_inference_steps=2",
    "validation_steps=4",
];

/// What the page says.
fn page(workshop: &Workshop) -> Value {
    let html = std::fs::read_to_string(workshop.output().join("report.html")).unwrap();
    let data = html.split("id=\"run\">").nth(1).unwrap().split("</script>").next().unwrap();
    serde_json::from_str(data).unwrap()
}

#[test]
fn the_report_tells_the_run() {
    let workshop = Workshop::with_pictures(9);
    workshop.trained(&[&DRAWING[..], &["max_train_steps=16", "eval_share=0.2", "eval_steps=8"]].concat());
    let page = page(&workshop);
    assert_eq!((&page["state"], &page["step"], &page["total"]), (&"finished".into(), &16.into(), &16.into()));
    assert_eq!(page["curves"]["step"].as_array().unwrap().len(), 16);
    assert_eq!(page["held_out"].as_array().unwrap().len(), 3);
    assert_eq!(page["pictures"]["steps"], serde_json::json!([0, 4, 8, 12, 16]));
    let prompt = &page["pictures"]["prompts"][0];
    assert_eq!(prompt["text"], DRAWING[0].split_once('=').unwrap().1);
    assert_eq!(prompt["pictures"].as_array().unwrap().len(), 5);
    assert!(prompt["pictures"][4]["thumbnail"].as_str().unwrap().starts_with("data:image/jpeg;base64,"));
    assert!(workshop.output().join(prompt["pictures"][4]["file"].as_str().unwrap()).exists());
    assert_eq!(page["strengths"].as_array().unwrap().len(), 5);
    assert!(!page["hardest"].as_array().unwrap().is_empty());
    let rows = |section: &Value| section["rows"].as_array().unwrap().clone();
    let settings: Vec<Value> = page["settings"].as_array().unwrap().iter().flat_map(rows).collect();
    let row = |key: &str| settings.iter().find(|row| row["key"] == key).unwrap();
    assert_eq!((&row("lora_rank")["value"], &row("lora_rank")["changed"]), (&"4".into(), &true.into()));
    assert_eq!(row("lora_alpha")["changed"], false, "it follows the rank");
    assert_eq!(
        (&row("adam_beta2")["value"], &row("adam_beta2")["changed"]),
        (&"0.999".into(), &false.into())
    );
}

#[test]
fn the_report_is_there_while_the_run_goes_on_and_says_how_it_ended() {
    let workshop = Workshop::new();
    let mut run = workshop.begin(&["max_train_steps=100000", "checkpointing_steps=0"]);
    wait_until("a report", || workshop.output().join("report.html").exists());
    assert_eq!(page(&workshop)["state"], "running");
    run.kill().unwrap();
    run.wait().unwrap();
    let mut report = sargent();
    let said = Ended::of(report.arg("report").arg(workshop.output())).succeeded().stdout;
    assert!(said.trim().ends_with("report.html"));
    assert_eq!(page(&workshop)["state"], "stopped");
}

#[test]
fn a_run_that_went_back_has_every_step_once_and_says_so() {
    let workshop = Workshop::new();
    let fast = ["max_train_steps=40", "learning_rate=0.1", "lr_warmup_steps=40", "eval_share=0.3"];
    workshop.trained(
        &[&fast[..], &["eval_steps=2", "guard=roll_back", "guard_patience=2", "guard_rollbacks=9"]].concat(),
    );
    let page = page(&workshop);
    let steps: Vec<u64> =
        page["curves"]["step"].as_array().unwrap().iter().map(|step| step.as_u64().unwrap()).collect();
    assert_eq!(steps, (1..=40).collect::<Vec<_>>());
    assert!(
        page["notes"]
            .as_array()
            .unwrap()
            .iter()
            .any(|note| note["text"].as_str().unwrap().contains("going back"))
    );
    let losses = std::fs::read_to_string(workshop.output().join("samples.jsonl")).unwrap();
    assert_eq!(losses.lines().count(), 40);
}

#[test]
fn a_folder_that_holds_no_run_is_refused() {
    let workshop = Workshop::new();
    Ended::of(sargent().arg("report").arg(workshop.path("pictures")))
        .refused(&["about.json", "output folder"]);
}
