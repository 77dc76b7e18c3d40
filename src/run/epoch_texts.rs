//! Captions that read differently each time: what the coming steps will see is encoded together, between epochs.
//!
//! Which texts those are is known ahead, since they are a pure function of the step. They lie on a shelf in the output
//! folder that forgets what no coming step of the same stretch reads, so it stays small however long the run is. A
//! stretch is an epoch, or as much of it as the shelf may hold.

mod stretch;

use self::stretch::{Stretch, Stretches};
use crate::autograd::Engine;
use crate::cache::{TextEmbeddings, TextKey};
use crate::device::{Device, Limits};
use crate::encode::{Stage, TextWork};
use crate::error::Result;
use crate::models::text::{GROUP, TextEncoders};
use crate::run::Opened;
use crate::run::progress::Observer;
use crate::train::data::TextShelves;
use crate::train::output_folder;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

/// Bytes that the shelf of passing texts may hold.
const MOST_BYTES: usize = 4 << 30;

/// Numbers of texts that are encoded together where there is room, largest first.
const LARGER_GROUPS: [usize; 3] = [64, 32, 16];

/// See the module's documentation.
#[derive(Debug)]
pub struct EpochTexts<'a> {
    stretches: Stretches<'a>,
    shelves: TextShelves<'a>,
    encoders: TextEncoders,
    together: usize,
    /// The key of a text without that text.
    key: TextKey,
    /// The steps whose texts are ready.
    ready: Range<u64>,
    began: Instant,
    spent: Duration,
}

impl<'a> EpochTexts<'a> {
    /// The passing texts of a run whose arena has `arena_bytes`; none if no caption varies. `key` is that of any text.
    ///
    /// # Errors
    /// A text encoder that is missing.
    pub fn open(
        opened: &'a Opened,
        shelves: TextShelves<'a>,
        key: &TextKey,
        arena_bytes: usize,
        device: &Device,
    ) -> Result<Option<Self>> {
        if !opened.captions().varies() {
            // Of an earlier run in the same folder.
            shelves.passing.keep_only([])?;
            return Ok(None);
        }
        let encoders = TextEncoders::open(&opened.model)?;
        Ok(Some(Self {
            stretches: Stretches {
                schedule: &opened.schedule,
                captions: opened.captions(),
                ahead: opened.recipe.modulation_steps as u64,
                most: most_texts(opened),
            },
            together: largest_group(opened, &encoders, &device.limits()?, arena_bytes)?,
            shelves,
            encoders,
            key: key.clone(),
            ready: 0..0,
            began: Instant::now(),
            spent: Duration::ZERO,
        }))
    }

    /// Encodes what the steps from `step` on will read, unless it is there. False if `stop` was raised meanwhile.
    ///
    /// # Errors
    /// Weights that cannot be read, a disk that cannot be written.
    pub fn make_ready(
        &mut self,
        engine: &mut Engine,
        step: u64,
        observer: &mut dyn Observer,
        stop: &AtomicBool,
    ) -> Result<bool> {
        if self.ready.contains(&step) {
            return Ok(true);
        }
        let begin = Instant::now();
        let stretch = self.stretches.from(step);
        let keys: Vec<TextKey> =
            stretch.texts.iter().map(|text| TextKey { text: text.clone(), ..self.key.clone() }).collect();
        self.shelves.passing.keep_only(&keys)?;
        let missing: Vec<TextKey> = keys.into_iter().filter(|key| !self.shelves.contain(key)).collect();
        let work = TextWork {
            encoders: &self.encoders,
            shelf: self.shelves.passing,
            together: self.together,
            always_full: true,
            stop,
        };
        let mut progress = |done: usize| observer.encoding(Stage::Texts, done, missing.len());
        if !missing.is_empty() && !work.encode(engine, &missing, &mut progress)? {
            return Ok(false);
        }
        let took = begin.elapsed();
        self.spent += took;
        // Before the first step nothing else has taken any time.
        let share = (!self.ready.is_empty()).then(|| self.share());
        self.ready = stretch.first..stretch.end;
        if !missing.is_empty() {
            observer.note(&self.said(&stretch, missing.len(), took, share));
        }
        Ok(true)
    }

    /// Forgets all of them, at the end of a run.
    pub fn forget(&self) -> Result<()> {
        self.shelves.passing.keep_only([])
    }

    /// The share of the run's time so far that was spent here.
    fn share(&self) -> f64 {
        self.spent.as_secs_f64() / self.began.elapsed().as_secs_f64().max(f64::MIN_POSITIVE)
    }

    fn said(&self, stretch: &Stretch, texts: usize, took: Duration, share: Option<f64>) -> String {
        let seconds = took.as_secs_f64();
        let share = share.map(|share| format!("; {:.1} % of the time so far", 100.0 * share));
        let epoch = self.stretches.schedule.epoch_of(stretch.first as usize) + 1;
        let (from, to) = (stretch.first + 1, stretch.end);
        format!(
            "encoded {texts} captions of epoch {epoch}, for steps {from} to {to}, in {seconds:.1} s ({:.3} s each{})",
            seconds / texts as f64,
            share.unwrap_or_default()
        )
    }
}

/// Where passing texts lie.
pub fn folder(opened: &Opened) -> PathBuf {
    opened.settings.output_dir.join(output_folder::EPOCH_TEXTS)
}

/// Bytes of the arena that encoding passing texts needs at least; none if no caption varies.
pub fn arena_bytes(opened: &Opened, limits: &Limits) -> Result<usize> {
    if !opened.captions().varies() {
        return Ok(0);
    }
    let encoders = TextEncoders::open(&opened.model)?;
    encoders.encoders().plan_together(GROUP, opened.settings.tokenizer_max_length, limits)
}

/// Bytes on disk that passing texts take at most.
pub fn disk_bytes(opened: &Opened) -> u64 {
    (most_at_a_time(opened) * text_bytes(opened)) as u64
}

/// Passing texts that are there at one time, at most.
pub fn most_at_a_time(opened: &Opened) -> usize {
    if !opened.captions().varies() {
        return 0;
    }
    let settings = &opened.settings;
    let samples_a_step = settings.train_batch_size * settings.gradient_accumulation_steps;
    let ahead = opened.recipe.modulation_steps;
    let of_an_epoch = appearances(opened) + (ahead - 1) * samples_a_step;
    let of_the_shelf = most_texts(opened).max(ahead * samples_a_step) + samples_a_step;
    let of_the_run = opened.schedule.total_steps().saturating_mul(samples_a_step);
    of_an_epoch.min(of_the_shelf).min(of_the_run)
}

/// Appearances in an epoch of pictures whose captions vary: no epoch has more passing texts.
pub fn appearances(opened: &Opened) -> usize {
    let steps = opened.schedule.steps();
    let of_set = |index: usize| -> usize {
        let set = &steps.sets[index];
        if set.batches_per_epoch != set.batches {
            // An epoch takes another number of this set's batches, each as full as can be.
            return set.batches_per_epoch * opened.settings.train_batch_size;
        }
        steps.groups.iter().filter(|group| group.set == index).map(|group| group.appearances).sum()
    };
    let sets = opened.dataset.sources.iter().enumerate();
    sets.filter(|(_, source)| source.wording.varies()).map(|(index, _)| of_set(index)).sum()
}

/// The different passing texts of the first epoch; none if it is so long that counting them takes more than a moment.
pub fn of_the_first_epoch(opened: &Opened) -> Option<usize> {
    /// Appearances that are shuffled on the way, an epoch's for each of its steps.
    const QUICK: usize = 20_000_000;
    let schedule = &opened.schedule;
    let shuffled = schedule.steps_per_epoch().checked_mul(appearances(opened))?;
    let stretches = Stretches { schedule, captions: opened.captions(), ahead: 1, most: usize::MAX };
    (shuffled <= QUICK).then(|| stretches.from(0).texts.len())
}

fn most_texts(opened: &Opened) -> usize {
    (MOST_BYTES / text_bytes(opened)).max(GROUP)
}

fn text_bytes(opened: &Opened) -> usize {
    TextEmbeddings::file_bytes(
        [opened.text_tokens(), opened.config.context_width],
        opened.config.pooled_width,
    )
}

/// Texts that are encoded together: as many as the arena, which training needs anyway, has room for, since every
/// group streams the encoders' weights once; but no more than a quarter of an epoch's, since groups are filled up.
fn largest_group(
    opened: &Opened,
    encoders: &TextEncoders,
    limits: &Limits,
    arena_bytes: usize,
) -> Result<usize> {
    let texts = appearances(opened).min(most_texts(opened));
    for group in LARGER_GROUPS.into_iter().filter(|group| 4 * group <= texts) {
        if encoders.encoders().plan_together(group, opened.settings.tokenizer_max_length, limits)?
            <= arena_bytes
        {
            return Ok(group);
        }
    }
    Ok(GROUP)
}
