//! What training reads: latents and embeddings of every sample, from the cache.

use crate::cache::{LatentKey, Latents, Shelf, Store, TextEmbeddings, TextKey};
use crate::dataset::Lesson;
use crate::error::{Error, ErrorKind, Result};
use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::Hash;
use std::path::PathBuf;
use std::rc::Rc;

/// Bytes of entries of one kind that stay in memory; the rest is read again when it is needed.
const KEPT_BYTES: usize = 128 << 20;

/// Where one sample comes from, and its cache keys.
#[derive(Debug, Clone)]
pub struct SampleKeys {
    /// Its picture, for people.
    pub picture: PathBuf,
    /// What training makes of it.
    pub lesson: Lesson,
    /// Its latents, one key a view.
    pub latents: Vec<LatentKey>,
}

/// Where embeddings lie.
#[derive(Debug, Clone, Copy)]
pub struct TextShelves<'a> {
    /// Those of texts that are known before a run.
    pub fixed: &'a Shelf<TextEmbeddings>,
    /// Those of texts that are made for the coming steps and forgotten later.
    pub passing: &'a Shelf<TextEmbeddings>,
}

impl TextShelves<'_> {
    /// Whether there are embeddings under `key`.
    pub fn contain(&self, key: &TextKey) -> bool {
        self.fixed.contains(key) || self.passing.contains(key)
    }

    fn get(&self, key: &TextKey) -> Option<TextEmbeddings> {
        self.fixed.get(key).or_else(|| self.passing.get(key))
    }
}

/// See the module's documentation.
#[derive(Debug)]
pub struct TrainingData<'a> {
    store: &'a Store,
    shelves: TextShelves<'a>,
    samples: Vec<SampleKeys>,
    empty_caption: TextKey,
    latents: RefCell<Kept<(usize, usize), Latents>>,
    texts: RefCell<Kept<String, TextEmbeddings>>,
}

/// Entries that were read lately; none is dropped before all are, which suits an epoch's order.
#[derive(Debug)]
struct Kept<K, E> {
    entries: HashMap<K, Rc<E>>,
    bytes: usize,
}

impl<K: Hash + Eq, E> Kept<K, E> {
    fn new() -> Self {
        Self { entries: HashMap::new(), bytes: 0 }
    }

    fn keep(&mut self, key: K, entry: Rc<E>, bytes: usize) {
        if self.bytes + bytes > KEPT_BYTES {
            self.entries.clear();
            self.bytes = 0;
        }
        self.bytes += bytes;
        self.entries.insert(key, entry);
    }
}

impl<'a> TrainingData<'a> {
    /// Data of `samples`, whose latents `store` holds. The key of the empty caption says how texts are encoded; theirs
    /// lie in `store`, or in `passing` from before the first step that reads them.
    pub fn new(
        store: &'a Store,
        passing: &'a Shelf<TextEmbeddings>,
        samples: Vec<SampleKeys>,
        empty_caption: TextKey,
    ) -> Self {
        let (latents, texts) = (RefCell::new(Kept::new()), RefCell::new(Kept::new()));
        let shelves = TextShelves { fixed: &store.texts, passing };
        Self { store, shelves, samples, empty_caption, latents, texts }
    }

    /// Where texts lie.
    pub fn shelves(&self) -> TextShelves<'a> {
        self.shelves
    }

    /// The pictures of `samples`, for people.
    pub fn pictures(&self, samples: impl IntoIterator<Item = usize>) -> String {
        let pictures: Vec<_> =
            samples.into_iter().map(|sample| self.samples[sample].picture.display().to_string()).collect();
        pictures.join(", ")
    }

    /// Number of views of `sample`.
    pub fn views(&self, sample: usize) -> usize {
        self.samples[sample].latents.len()
    }

    /// What training makes of `sample`.
    pub fn lesson(&self, sample: usize) -> &Lesson {
        &self.samples[sample].lesson
    }

    /// The latent distribution of a view of `sample`.
    pub fn latents(&self, sample: usize, view: usize) -> Result<Rc<Latents>> {
        if let Some(known) = self.latents.borrow().entries.get(&(sample, view)) {
            return Ok(known.clone());
        }
        let found = self.store.latents.get(&self.samples[sample].latents[view]).ok_or_else(gone)?;
        let bytes = 8 * found.mean.len();
        let found = Rc::new(found);
        self.latents.borrow_mut().keep((sample, view), found.clone(), bytes);
        Ok(found)
    }

    /// The embeddings of a text.
    pub fn text(&self, text: &str) -> Result<Rc<TextEmbeddings>> {
        if let Some(known) = self.texts.borrow().entries.get(text) {
            return Ok(known.clone());
        }
        let key = TextKey { text: text.to_owned(), ..self.empty_caption.clone() };
        let found = Rc::new(self.shelves.get(&key).ok_or_else(gone)?);
        let bytes = 4 * found.prompt_embeds.len();
        self.texts.borrow_mut().keep(key.text, found.clone(), bytes);
        Ok(found)
    }
}

fn gone() -> Error {
    Error::new(ErrorKind::Files, "cache", "an entry that was there before training is gone or damaged")
        .hint("leave the cache folders alone while training; starting again makes the entry anew")
}
