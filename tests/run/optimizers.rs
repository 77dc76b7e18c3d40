//! The three forms of AdamW on the miniature.

use super::workshop::Workshop;

const FORMS: [&str; 3] = ["optimizer=adamw", "optimizer=adamw_bf16", "optimizer=adamw_8bit"];

#[test]
fn every_optimizer_goes_on_bit_for_bit() {
    for optimizer in FORMS {
        let workshop = Workshop::new();
        let set = [optimizer, "use_ema=true", "checkpoints_state_limit=4"];
        workshop.trained(&set);
        let (lora, metrics) = (workshop.lora(), workshop.metrics());
        workshop.trained(&[&set[..], &["resume_from_checkpoint=checkpoint-4"]].concat());
        assert!(workshop.lora() == lora, "{optimizer}");
        assert_eq!(workshop.metrics(), metrics, "{optimizer}");
    }
}

#[test]
fn the_optimizers_go_the_same_way_by_their_own_steps() {
    let runs = FORMS.map(|optimizer| {
        let workshop = Workshop::new();
        workshop.trained(&[optimizer]);
        let losses = workshop.metrics().iter().map(|step| step["loss"].as_f64().unwrap()).collect::<Vec<_>>();
        (workshop.lora(), losses)
    });
    let (lora, losses) = &runs[0];
    for (other, others) in &runs[1..] {
        assert!(other != lora);
        for (loss, other) in losses.iter().zip(others) {
            assert!((loss - other).abs() < 1e-2 * loss, "{loss} {other}");
        }
    }
}

#[test]
fn the_optimizer_is_kept_on_resuming() {
    let workshop = Workshop::new();
    workshop.trained(&["max_train_steps=2", FORMS[2]]);
    let other = workshop.train(&["resume_from_checkpoint=latest", "max_train_steps=4", FORMS[1]]);
    other.refused(&["`optimizer`", "adamw_8bit", "adamw_bf16"]);
}
