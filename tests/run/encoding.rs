//! Caches: what was encoded once is not encoded again.

use super::workshop::Workshop;

/// Whether the run said that it encoded so much.
fn assert_encoded(stderr: &str, pictures: usize, texts: usize) {
    let line = format!("encoded {pictures} pictures and {texts} texts");
    assert!(stderr.contains(&line), "{line} is not in\n{stderr}");
}

fn run(workshop: &Workshop, output: &str) -> String {
    let (output, cache) = (workshop.path(output), workshop.path("cache"));
    let (output, cache) =
        (format!("output_dir={}", output.display()), format!("cache_dir={}", cache.display()));
    let prompts = ["validation_prompt=k4s4, a red star", "validation_resolution=64"];
    workshop
        .trained(&[&prompts[..], &["max_train_steps=1", "checkpointing_steps=0", &output, &cache]].concat())
}

#[test]
fn only_what_changed_is_encoded_again() {
    let workshop = Workshop::new();
    // Six captions, the prompt, and the empty text, which is the negative prompt too.
    assert_encoded(&run(&workshop, "a"), 6, 8);
    assert_encoded(&run(&workshop, "b"), 0, 0);
    let lora = |output: &str| std::fs::read(workshop.path(output).join("pytorch_lora_weights.safetensors"));
    assert!(lora("a").unwrap() == lora("b").unwrap());

    std::fs::write(workshop.path("pictures/00_orange_circle.txt"), "k4s4, something else\n").unwrap();
    assert_encoded(&run(&workshop, "c"), 0, 1);
    let picture = workshop.path("pictures/02_white_triangle.png");
    image::open(&picture).unwrap().rotate180().save(&picture).unwrap();
    assert_encoded(&run(&workshop, "d"), 1, 0);
    std::fs::rename(&picture, workshop.path("pictures/99_white_triangle.png")).unwrap();
    let caption = workshop.path("pictures/02_white_triangle.txt");
    std::fs::rename(&caption, workshop.path("pictures/99_white_triangle.txt")).unwrap();
    assert_encoded(&run(&workshop, "e"), 0, 0);
}

#[test]
fn an_entry_that_was_cut_short_is_encoded_again() {
    let workshop = Workshop::new();
    run(&workshop, "a");
    let entries = super::workshop::files(&workshop.path("cache"));
    let (entry, bytes) = entries.iter().max_by_key(|(_, bytes)| bytes.len()).unwrap();
    std::fs::write(entry, &bytes[..bytes.len() / 2]).unwrap();
    assert_encoded(&run(&workshop, "b"), 0, 1);
    assert!(std::fs::read(entry).unwrap() == *bytes);
}
