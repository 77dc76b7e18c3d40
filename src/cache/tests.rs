//! The store as its users see it.

use super::*;
use std::path::PathBuf;

fn key(content: &str) -> LatentKey {
    LatentKey {
        content_hash: content.into(),
        crop: [0.0, 0.0, 64.0, 48.0],
        bucket: [32, 24],
        change: Vec::new(),
        vae_hash: "v".into(),
    }
}

fn latents() -> Latents {
    let values = |offset: f32| (0..16 * 3 * 4).map(|i| i as f32 * 0.37 - offset).collect();
    Latents { shape: [16, 3, 4], mean: values(2.0), logvar: values(30.0) }
}

fn text_key(text: &str) -> TextKey {
    TextKey { text: text.into(), encoders_hash: "e".into(), t5_length: 77 }
}

fn embeddings() -> TextEmbeddings {
    let prompt_embeds = (0..5 * 8).map(|i| (i as f32).sin()).collect();
    TextEmbeddings { shape: [5, 8], prompt_embeds, pooled: vec![f32::MIN_POSITIVE, -0.0, 3.5] }
}

/// The only entry file under `folder`.
fn only_file(folder: &Path) -> PathBuf {
    let mut folders = vec![folder.to_owned()];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    assert_eq!(files.len(), 1, "{files:?}");
    files.remove(0)
}

#[test]
fn what_is_put_comes_back_bit_for_bit_in_another_run() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path());
    assert!(store.latents.get(&key("a")).is_none() && !store.latents.contains(&key("a")));
    store.latents.put(&key("a"), &latents()).unwrap();
    store.texts.put(&text_key("a cat"), &embeddings()).unwrap();
    let again = Store::open(folder.path());
    assert_eq!(again.latents.get(&key("a")), Some(latents()));
    assert_eq!(again.texts.get(&text_key("a cat")), Some(embeddings()));
    assert!(again.latents.contains(&key("a")) && again.latents.get(&key("b")).is_none());
    assert!(again.texts.get(&text_key("")).is_none());
    assert_eq!((again.latents.hits(), again.latents.misses()), (1, 1));
    assert_eq!((again.texts.hits(), again.texts.misses()), (1, 1));
    assert!(again.latents.notes().is_empty());
}

#[test]
fn opening_and_asking_writes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("cache"));
    assert!(store.latents.get(&key("a")).is_none());
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn a_cut_entry_counts_as_absent_and_can_be_made_again() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path());
    store.latents.put(&key("a"), &latents()).unwrap();
    let file = only_file(folder.path());
    let whole = std::fs::read(&file).unwrap();
    for length in (0..whole.len()).step_by(61).chain([whole.len() - 1]) {
        std::fs::write(&file, &whole[..length]).unwrap();
        assert!(store.latents.get(&key("a")).is_none(), "cut to {length} bytes");
    }
    let notes = store.latents.notes();
    assert!(notes[0].contains("made again") && notes[0].contains(file.to_str().unwrap()), "{notes:?}");
    store.latents.put(&key("a"), &latents()).unwrap();
    assert_eq!(store.latents.get(&key("a")), Some(latents()));
}

#[test]
fn a_flipped_bit_anywhere_is_noticed_or_harmless() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path());
    store.texts.put(&text_key("a"), &embeddings()).unwrap();
    let file = only_file(folder.path());
    let whole = std::fs::read(&file).unwrap();
    for at in 0..whole.len() {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x10;
        std::fs::write(&file, &damaged).unwrap();
        let read = store.texts.get(&text_key("a"));
        assert!(read.is_none() || read == Some(embeddings()), "byte {at}");
    }
}

#[test]
fn an_entry_under_another_name_is_not_taken() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path());
    store.latents.put(&key("a"), &latents()).unwrap();
    let bytes = std::fs::read(only_file(folder.path())).unwrap();
    store.latents.put(&key("b"), &latents()).unwrap();
    let name = format!("{}.safetensors", key("b").digest());
    std::fs::write(folder.path().join("latents").join(&name[..2]).join(&name), bytes).unwrap();
    assert!(store.latents.get(&key("b")).is_none());
    assert!(store.latents.notes()[0].contains("another key"));
}

#[test]
fn sizes_on_disk_keep_within_the_estimate() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path());
    store.latents.put(&key("a"), &latents()).unwrap();
    let bytes = std::fs::metadata(only_file(folder.path())).unwrap().len() as usize;
    let payload = 2 * 4 * 16 * 3 * 4;
    assert!((payload..=Latents::file_bytes([16, 3, 4])).contains(&bytes), "{bytes}");
    let other = tempfile::tempdir().unwrap();
    let store = Store::open(other.path());
    store.texts.put(&text_key("a"), &embeddings()).unwrap();
    let bytes = std::fs::metadata(only_file(other.path())).unwrap().len() as usize;
    assert!((4 * 43..=TextEmbeddings::file_bytes([5, 8], 3)).contains(&bytes), "{bytes}");
}

#[test]
fn data_that_do_not_fill_their_shape_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path());
    let short = Latents { mean: vec![0.0; 3], ..latents() };
    assert!(store.latents.put(&key("a"), &short).is_err());
    assert!(!store.latents.contains(&key("a")));
}

#[test]
fn a_folder_that_cannot_be_written_to_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let store = Store::open(&file);
    assert!(store.latents.get(&key("a")).is_none());
    let error = store.latents.put(&key("a"), &latents()).unwrap_err();
    assert!(error.place.contains("file"), "{error}");
}

#[test]
fn writers_at_the_same_time_leave_a_whole_entry() {
    let folder = tempfile::tempdir().unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let store = Store::open(folder.path());
                for _ in 0..10 {
                    store.latents.put(&key("a"), &latents()).unwrap();
                    assert_eq!(store.latents.get(&key("a")), Some(latents()));
                }
            });
        }
    });
    only_file(folder.path());
}

#[test]
fn a_shelf_forgets_what_it_is_told_to_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let shelf = Shelf::<TextEmbeddings>::new(&folder.path().join("passing"));
    shelf.keep_only([]).unwrap();
    for text in ["a", "b", "c"] {
        shelf.put(&text_key(text), &embeddings()).unwrap();
    }
    let kept = text_key("b");
    let beside = folder.path().join("passing").join(&kept.digest()[..2]);
    std::fs::write(beside.join("notes.txt"), "mine").unwrap();
    std::fs::write(beside.join(".writing-123"), "half").unwrap();
    shelf.keep_only([&kept, &text_key("d")]).unwrap();
    assert!(shelf.contains(&kept) && !shelf.contains(&text_key("a")) && !shelf.contains(&text_key("c")));
    assert!(beside.join("notes.txt").exists() && !beside.join(".writing-123").exists());
    shelf.keep_only([]).unwrap();
    assert_eq!(only_file(folder.path()), beside.join("notes.txt"));
    std::fs::remove_file(beside.join("notes.txt")).unwrap();
    shelf.put(&kept, &embeddings()).unwrap();
    shelf.keep_only([]).unwrap();
    assert!(!folder.path().join("passing").exists());
}
