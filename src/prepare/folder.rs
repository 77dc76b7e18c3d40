//! A whole folder: every picture brought up to date, then the record and the review sheet.

use super::likeness::remark_on_duplicates;
use super::looking::{self, Memory};
use super::making::{Done, Workshop};
use super::metadata;
use super::options::Options;
use super::overrides::{self, Overrides};
use super::record::{self, Entry, Journal, Record, State};
use super::sheet;
use super::sources::{self, Source};
use super::target::{self, Target};
use super::timings::Timings;
use crate::dataset::content_hash;
use crate::error::{Error, ErrorKind, Result};
use rayon::prelude::*;
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Hears how far the work is, from any thread.
pub trait Observer: Sync {
    /// So many pictures of so many are done.
    fn progress(&self, done: usize, total: usize);
}

/// What a run has done.
#[derive(Debug, Default, Serialize)]
pub struct Summary {
    /// Crops that were written.
    pub written: usize,
    /// Crops that were up to date.
    pub unchanged: usize,
    /// Captions that were written.
    pub captions: usize,
    /// Pictures that the user does not want.
    pub excluded: usize,
    /// Pictures that could not be prepared, and why.
    pub left_out: Vec<LeftOut>,
    /// What is good to know.
    pub notes: Vec<String>,
    /// Whether the run was stopped before its end.
    pub stopped: bool,
    /// Where the time went.
    pub timings: Timings,
    /// Everything that was made, as in `prepare.json`.
    #[serde(skip)]
    pub pictures: Vec<Entry>,
}

/// A picture that could not be prepared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LeftOut {
    /// The file.
    pub file: String,
    /// What is wrong with it.
    pub cause: String,
    /// What to do about it.
    pub cure: String,
}

impl From<Error> for LeftOut {
    fn from(error: Error) -> Self {
        Self { file: error.place, cause: error.cause, cure: error.hint }
    }
}

/// Crops every picture in the folder `from` into the folder `to`, as `options` and `to`'s overrides.json say.
///
/// What is up to date stays. A picture that cannot be used is left out and named in the summary; nothing is ever
/// deleted. After `stop` is raised, the pictures at work are finished and the rest is left to the next run.
///
/// # Errors
/// Folders that cannot be used, overrides that cannot be understood, or a disk that cannot be written.
pub fn prepare(
    from: &Path,
    to: &Path,
    options: &Options,
    observer: &dyn Observer,
    stop: &AtomicBool,
) -> Result<Summary> {
    let sources = sources::list(from, options.format)?;
    target::refuse_overlap(from, to)?;
    let overrides = overrides::read(&target::overrides_in(to))?;
    let target = Target::open(to)?;
    let (earlier, before) = record::read(&target)?;
    refuse_other_source(&earlier, from, to)?;
    let journal = Journal::open(&target)?;
    let mut summary = Summary { notes: sources.notes, ..Summary::default() };
    summary.left_out = sources.left_out.into_iter().map(Into::into).collect();
    summary.notes.extend(wishes_for_nothing(&overrides, &sources.pictures, to));
    let workshop = Workshop {
        options,
        overrides: &overrides,
        target: &target,
        journal: &journal,
        timings: &summary.timings,
        memory: &Memory::default(),
        thumbnail_side: sheet::thumbnail_side(sources.pictures.len()),
    };
    let make = |source: &Source| workshop.prepare(source, before.get(&source.name));
    let results = all(&sources.pictures, options.threads, &make, observer, stop)?;
    let mut entries = collect(results, &sources.pictures, before, &mut summary)?;
    see_what_vanished(&mut entries, from, &target, &mut summary);
    let mut pictures: Vec<Entry> = entries.into_values().collect();
    remark_on_duplicates(&mut pictures);
    let copied = metadata::copy(from, &target, &sources.pictures, &earlier.metadata)?;
    summary.notes.extend(copied.notes);
    let record = Record {
        program: format!("sargent {}", env!("CARGO_PKG_VERSION")),
        source: std::path::absolute(from).unwrap_or_else(|_| from.to_owned()).display().to_string(),
        sizes: options.sizes.iter().map(ToString::to_string).collect(),
        max_enlarge: options.limits.largest_enlargement,
        overrides: content_hash(serde_json::Value::from(overrides.written.clone()).to_string().as_bytes()),
        metadata: copied.files,
        pictures,
    };
    let changed = record::write(&target, &record)?;
    if changed || !target.sheet().exists() {
        sheet::write(&target, &record, &overrides.written, &summary.left_out)?;
    }
    summary.pictures = record.pictures;
    Ok(summary)
}

/// Fails if `to` holds the crops of another folder, whose names could be those of this one. A folder that is no
/// longer where it was may be this one.
fn refuse_other_source(earlier: &Record, from: &Path, to: &Path) -> Result<()> {
    let (was, is) = (Path::new(&earlier.source).canonicalize(), from.canonicalize());
    let (Ok(was), Ok(is)) = (was, is) else { return Ok(()) };
    if earlier.source.is_empty() || was == is {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::Usage,
        to.display().to_string(),
        format!("holds the crops of {}", earlier.source),
    )
    .hint("name another folder; training takes several"))
}

/// Remarks on wishes that name no picture.
fn wishes_for_nothing(overrides: &Overrides, pictures: &[Source], to: &Path) -> Vec<String> {
    let file = target::overrides_in(to);
    let unknown = |name: &&String| pictures.binary_search_by(|source| source.name.cmp(*name)).is_err();
    let names = overrides.wishes.keys().filter(unknown);
    names.map(|name| format!("{}: there is no picture `{name}`", file.display())).collect()
}

/// What [`prepare`] would make of every picture, with nothing written.
///
/// # Errors
/// Folders that cannot be used, or overrides that cannot be understood.
pub fn foresee(
    from: &Path,
    to: &Path,
    options: &Options,
    observer: &dyn Observer,
    stop: &AtomicBool,
) -> Result<Summary> {
    let sources = sources::list(from, options.format)?;
    target::refuse_overlap(from, to)?;
    let overrides = overrides::read(&target::overrides_in(to))?;
    let mut summary = Summary { notes: sources.notes, ..Summary::default() };
    summary.left_out = sources.left_out.into_iter().map(Into::into).collect();
    summary.notes.extend(wishes_for_nothing(&overrides, &sources.pictures, to));
    let (timings, memory) = (&summary.timings, &Memory::default());
    let look = |source: &Source| {
        let wish = overrides.wishes.get(&source.name).cloned().unwrap_or_default();
        let (bytes, original) = looking::read(source, timings)?;
        let looked = looking::look(source, (&bytes, original), &wish, options, timings, memory)?;
        memory.give_back(looked.upright);
        Ok(Done { entry: looked.entry, written: true, captions: 0, notes: Vec::new() })
    };
    let results = all(&sources.pictures, options.threads, &look, observer, stop)?;
    let entries = collect(results, &sources.pictures, BTreeMap::new(), &mut summary)?;
    summary.pictures = entries.into_values().collect();
    Ok(summary)
}

/// Does `work` on all pictures, one a thread; what became of each, none for those that `stop` has spared.
fn all(
    pictures: &[Source],
    threads: usize,
    work: &(dyn Fn(&Source) -> Result<Done> + Sync),
    observer: &dyn Observer,
    stop: &AtomicBool,
) -> Result<Vec<Option<Result<Done>>>> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
    let pool = pool.map_err(|e| Error::usage(format!("threads cannot be started: {e}")))?;
    let (done, failed) = (AtomicUsize::new(0), AtomicBool::new(false));
    let one = |source: &Source| {
        if stop.load(Ordering::Relaxed) || failed.load(Ordering::Relaxed) {
            return None;
        }
        let result = work(source);
        if result.as_ref().is_err_and(|e| e.kind == ErrorKind::Files) {
            failed.store(true, Ordering::Relaxed);
        }
        observer.progress(done.fetch_add(1, Ordering::Relaxed) + 1, pictures.len());
        Some(result)
    };
    Ok(pool.install(|| pictures.par_iter().with_max_len(1).map(one).collect()))
}

/// The entries after this run, by source; counts in `summary`.
fn collect(
    results: Vec<Option<Result<Done>>>,
    pictures: &[Source],
    before: BTreeMap<String, Entry>,
    summary: &mut Summary,
) -> Result<BTreeMap<String, Entry>> {
    let mut entries = before;
    for (result, source) in results.into_iter().zip(pictures) {
        match result {
            None => summary.stopped = true,
            Some(Ok(done)) => {
                count(&done, source, summary);
                entries.insert(source.name.clone(), done.entry);
                summary.notes.extend(done.notes);
            }
            Some(Err(error)) if error.kind == ErrorKind::Files => return Err(error),
            Some(Err(error)) => {
                let mut left_out = LeftOut::from(error);
                if entries.get(&source.name).is_some_and(|entry| entry.output.is_some()) {
                    left_out.cause += " (the crop of an earlier run stays)";
                }
                summary.left_out.push(left_out);
            }
        }
    }
    summary.left_out.sort_by(|a, b| a.file.cmp(&b.file));
    Ok(entries)
}

fn count(done: &Done, source: &Source, summary: &mut Summary) {
    summary.captions += done.captions;
    match done.entry.state {
        State::Made if done.written => summary.written += 1,
        State::Made => summary.unchanged += 1,
        State::Excluded => summary.excluded += 1,
        State::Refused | State::Vanished => summary.left_out.push(LeftOut {
            file: source.path.display().to_string(),
            cause: done.entry.reason.clone(),
            cure: "use a larger picture, choose smaller --sizes, or raise --max-enlarge".to_owned(),
        }),
    }
}

/// Crops whose source is gone stay, and are named; an entry of which nothing is left goes.
fn see_what_vanished(
    entries: &mut BTreeMap<String, Entry>,
    from: &Path,
    target: &Target,
    summary: &mut Summary,
) {
    entries.retain(|name, entry| {
        if from.join(name).exists() {
            return true;
        }
        let Some(output) = &entry.output else { return false };
        let path = target.path(&output.file);
        if path.exists() {
            entry.state = State::Vanished;
            let note = format!("{name} is gone; its crop {} stays and would be trained", path.display());
            summary.notes.push(note);
        }
        path.exists()
    });
}
