//! The golden case: every output within its own tolerance.

use super::*;

/// Asserts that `found` is the golden output `name`.
fn assert_golden(name: &str, found: &[f32]) {
    let file = TensorFile::open(&golden_case().join("outputs.safetensors")).unwrap();
    let case = json(&golden_case().join("case.json"));
    let tolerance = case["tolerances"][name]["recommended_rel_l2"].as_f64().unwrap();
    let off = distance(found, &file.read_f32(name).unwrap());
    assert!(off <= tolerance, "{name} is off by {off}, {tolerance} is allowed");
}

fn assert_golden_clip(which: TextEncoder, number: usize) {
    let states =
        golden_clip(which).encode(&mut engine(), &texts(&golden_ids(&format!("clip{number}_ids")))).unwrap();
    assert_golden(&format!("clip{number}.penultimate"), &states.penultimate);
    assert_golden(&format!("clip{number}.pooled_projection"), &states.pooled);
}

#[test]
fn clip_l_is_that_of_transformers() {
    assert_golden_clip(TextEncoder::ClipL, 1);
}

#[test]
fn clip_g_is_that_of_transformers() {
    assert_golden_clip(TextEncoder::ClipG, 2);
}

#[test]
fn t5_is_that_of_transformers() {
    let ids = golden_ids("t5_ids");
    let t5 = golden_t5();
    assert_golden("t5.last_hidden_state", &t5.encode(&mut engine(), &texts(&ids), Padding::Seen).unwrap());
    let masked = t5.encode(&mut engine(), &[&ids[0]], Padding::Hidden).unwrap();
    assert_golden("t5.masked_row0", &masked);
}

#[test]
fn prompts_are_put_together_as_diffusers_does() {
    let long_text = LongText::T5(golden_t5());
    let (l, g) = (golden_clip(TextEncoder::ClipL), golden_clip(TextEncoder::ClipG));
    let encoders = Encoders::new(l, g, long_text).unwrap();
    for (prefix, row) in [("", 1), ("negative_", 0)] {
        let ids = |name: &str| golden_ids(&format!("{prefix}{name}_ids")).swap_remove(row);
        let prompt = PromptIds { clip_l: ids("clip1"), clip_g: ids("clip2"), t5: ids("t5") };
        let found = encoders.encode(&mut engine(), &[prompt]).unwrap().swap_remove(0);
        assert_eq!((found.tokens, found.width), (77 + 133, 96));
        assert_golden(&format!("{prefix}prompt_embeds"), &found.prompt_embeds);
        assert_golden(&format!("{prefix}pooled_prompt_embeds"), &found.pooled);
    }
}
