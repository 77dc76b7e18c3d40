//! Keeps `report.html` fresh while a run goes on, and writes it again from the files of an earlier one.

use crate::dataset::GroupSteps;
use crate::error::{Error, Result};
use crate::files;
use crate::report::metrics::{self, EvaluationMetrics, Line, MetricsLog, Note, StepMetrics};
use crate::report::page::{
    self, About, BucketRow, Curves, Data, HardPicture, LinkedPicture, MemoryPart, Page, Pictures,
    PromptPictures, PromptRow, Section, SettingRow, StrengthPicture, Thumbnails,
};
use crate::report::samples::StepSamples;
use crate::report::tally::Tally;
use crate::run::Opened;
use crate::settings::ToldSection;
use crate::train::memory::MemoryPlan;
use crate::train::places::Places;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Time between two writings, unless something new is to be seen.
const INTERVAL: Duration = Duration::from_secs(30);
/// Share of a run's time that writing may take.
const LARGEST_SHARE: f64 = 0.01;
/// Validation pictures in the page at most; with more, steps are left out.
const MOST_PICTURES: usize = 400;
/// The hardest pictures that are shown, and samples below which none is.
const HARDEST: usize = 12;
const FEWEST_SAMPLES: usize = 8;
/// The latest steps, whose mean time is shown.
const LATEST_STEPS: usize = 50;

/// See the module's documentation.
#[derive(Debug)]
pub struct Report {
    places: Places,
    about: About,
    tally: Tally,
    notes: MetricsLog<Note>,
    thumbnails: Thumbnails,
    began: Instant,
    written: Option<Instant>,
    spent: Duration,
}

impl Report {
    /// The report of a run that goes on after `step`.
    pub fn open(opened: &Opened, memory: &MemoryPlan, places: &Places, step: u64) -> Result<Self> {
        let about = about(opened, memory, places)?;
        let json = serde_json::to_vec(&about).map_err(|e| Error::io(&places.about(), &e.into()))?;
        files::replace_bytes(&places.about(), &json)?;
        let notes = MetricsLog::open(&places.notes(), step)?;
        let tally = tally(places)?;
        Ok(Self {
            places: places.clone(),
            about,
            tally,
            notes,
            thumbnails: Thumbnails::default(),
            began: Instant::now(),
            written: None,
            spent: Duration::ZERO,
        })
    }

    /// Reads the record of samples again, after it was cut short.
    pub fn go_back(&mut self) -> Result<()> {
        self.tally = tally(&self.places)?;
        Ok(())
    }

    /// Records something that the run said.
    pub fn note(&mut self, step: u64, text: &str) -> Result<()> {
        self.notes.append(&Note { step, text: text.to_owned() })
    }

    /// Counts the samples of a step, and writes the page if it is time.
    pub fn step(&mut self, samples: &StepSamples) -> Result<()> {
        self.tally.add(samples);
        let due = self.written.is_none_or(|written| written.elapsed() >= INTERVAL);
        let costly = self.spent.as_secs_f64() > LARGEST_SHARE * self.began.elapsed().as_secs_f64();
        if due && !costly { self.write("running") } else { Ok(()) }
    }

    /// Writes the page.
    pub fn write(&mut self, state: &str) -> Result<()> {
        let start = Instant::now();
        let page = gather(&self.places, &self.about, &self.tally, &mut self.thumbnails, state)?;
        page::write(&self.places.report(), &page)?;
        self.written = Some(Instant::now());
        self.spent += start.elapsed();
        Ok(())
    }
}

/// Writes the page of the run in `folder` again.
///
/// # Errors
/// A folder that holds no run, or one of a run that is broken.
pub fn rewrite(folder: &Path) -> Result<()> {
    let places = Places::new(folder);
    let path = places.about();
    let bytes =
        std::fs::read(&path).map_err(|e| Error::io(&path, &e).hint("name the output folder of a run"))?;
    let about: About = serde_json::from_slice(&bytes).map_err(|e| {
        Error::new(crate::error::ErrorKind::Files, path.display().to_string(), format!("it is damaged ({e})"))
            .hint("the next run in this folder writes it anew")
    })?;
    let state = if places.lora().exists() { "finished" } else { "stopped" };
    let page = gather(&places, &about, &tally(&places)?, &mut Thumbnails::default(), state)?;
    page::write(&places.report(), &page)
}

/// What is on record of the samples' losses.
fn tally(places: &Places) -> Result<Tally> {
    let mut tally = Tally::default();
    lines(&places.samples())?.iter().for_each(|step| tally.add(step));
    Ok(tally)
}

/// The lines of a record; none where there is no file.
fn lines<L: Line>(path: &Path) -> Result<Vec<L>> {
    if path.exists() { metrics::read(path) } else { Ok(Vec::new()) }
}

/// Collects the page from the files of the folder.
fn gather(
    places: &Places,
    about: &About,
    tally: &Tally,
    thumbnails: &mut Thumbnails,
    state: &str,
) -> Result<Page> {
    let steps: Vec<StepMetrics> = lines(&places.metrics())?;
    let step = steps.last().map_or(0, |last| last.step);
    let latest = &steps[steps.len().saturating_sub(LATEST_STEPS)..];
    let seconds = latest.iter().map(|step| step.seconds).sum::<f64>() / latest.len() as f64;
    let held_out: Vec<EvaluationMetrics> = lines(&places.evaluations())?;
    Ok(Page {
        version: env!("CARGO_PKG_VERSION"),
        state: state.to_owned(),
        step,
        epoch: steps.last().map_or(0, |last| last.epoch),
        seconds_per_step: (!latest.is_empty()).then_some(seconds),
        written: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs(),
        notes: lines(&places.notes())?,
        curves: Curves::of(&steps),
        held_out,
        pictures: pictures(places, about, thumbnails, step)?,
        strengths: strengths(places, about, thumbnails, step)?,
        hardest: hardest(about, tally, thumbnails),
        files: links(places),
        about: About { samples: Vec::new(), prompts: Vec::new(), ..about.clone() },
    })
}

fn pictures(places: &Places, about: &About, thumbnails: &mut Thumbnails, last: u64) -> Result<Pictures> {
    if about.prompts.is_empty() {
        return Ok(Pictures::default());
    }
    let steps = thinned(places.validation_steps(last), (MOST_PICTURES / about.prompts.len()).max(2));
    let mut prompts = Vec::new();
    for prompt in &about.prompts {
        let (width, height) = prompt.size;
        let mut row = Vec::new();
        for &step in &steps {
            let path = places.validation_image(step, &prompt.name, width, height);
            row.push(linked(places, &path, thumbnails)?);
        }
        let size = format!("{width} x {height}");
        prompts.push(PromptRow { name: prompt.name.clone(), text: prompt.text.clone(), size, pictures: row });
    }
    Ok(Pictures { steps, prompts })
}

/// At most `most` of `steps`, evenly, the first and the last among them.
fn thinned(steps: Vec<u64>, most: usize) -> Vec<u64> {
    if steps.len() <= most {
        return steps;
    }
    let mut kept: Vec<u64> = (0..most).map(|i| steps[i * (steps.len() - 1) / (most - 1)]).collect();
    kept.dedup();
    kept
}

fn linked(places: &Places, path: &Path, thumbnails: &mut Thumbnails) -> Result<Option<LinkedPicture>> {
    let file = path.strip_prefix(places.path()).unwrap_or(path).display().to_string();
    Ok(thumbnails.of(path)?.map(|thumbnail| LinkedPicture { thumbnail, file }))
}

fn strengths(
    places: &Places,
    about: &About,
    thumbnails: &mut Thumbnails,
    step: u64,
) -> Result<Vec<StrengthPicture>> {
    let Some(prompt) = about.prompts.first() else { return Ok(Vec::new()) };
    let (width, height) = prompt.size;
    let plain = places.validation_image(step, &prompt.name, width, height);
    let (Some(folder), Some(stem)) = (plain.parent(), plain.file_stem().and_then(|stem| stem.to_str()))
    else {
        return Ok(Vec::new());
    };
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let strength = name.to_str().and_then(|name| {
            name.strip_prefix(stem)?.strip_prefix("_strength-")?.strip_suffix(".png")?.parse::<f64>().ok()
        });
        if let Some(strength) = strength
            && let Some(picture) = linked(places, &entry.path(), thumbnails)?
        {
            found.push(StrengthPicture { picture, strength, name: prompt.text.clone() });
        }
    }
    found.sort_by(|a, b| a.strength.total_cmp(&b.strength));
    Ok(found)
}

/// The hardest pictures; one that is gone or cannot be read any more is left out.
fn hardest(about: &About, tally: &Tally, thumbnails: &mut Thumbnails) -> Vec<HardPicture> {
    if about.samples.len() < FEWEST_SAMPLES {
        return Vec::new();
    }
    let picture = |(sample, relative_loss): (usize, f64)| {
        let (path, caption) = about.samples.get(sample)?;
        let thumbnail = thumbnails.of(Path::new(path)).ok()??;
        let file = Path::new(path).file_name().unwrap_or_default().to_string_lossy();
        let name = format!("{file}: {caption}");
        let picture = LinkedPicture { thumbnail, file: path.clone() };
        Some(HardPicture { picture, relative_loss, name })
    };
    tally.hardest(HARDEST).into_iter().filter_map(picture).collect()
}

/// The files of the folder that are worth opening.
fn links(places: &Places) -> Vec<String> {
    let all = [
        places.lora(),
        places.before_after(),
        places.strengths(),
        places.plot(),
        places.metrics(),
        places.settings(),
        places.data_backends(),
    ];
    let name = |path: &std::path::PathBuf| Some(path.file_name()?.to_string_lossy().into_owned());
    all.iter().filter(|path| path.exists()).filter_map(name).collect()
}

fn about(opened: &Opened, memory: &MemoryPlan, places: &Places) -> Result<About> {
    let settings = &opened.settings;
    let absolute = std::path::absolute(places.path()).unwrap_or_else(|_| places.path().to_owned());
    // Many runs write into a folder called `output`; the one above it says which run it is.
    let names: Vec<_> = absolute.iter().rev().take(2).map(|name| name.to_string_lossy()).collect();
    let title = names.into_iter().rev().collect::<Vec<_>>().join(" / ");
    let bucket = |group: &GroupSteps| BucketRow {
        data_set: opened.dataset.sources[group.set].id.clone(),
        width: group.bucket.width as u64,
        height: group.bucket.height as u64,
        pictures: group.pictures as u64,
        appearances: group.appearances as u64,
        batches: group.batches as u64,
        last_batch: group.last_batch as u64,
    };
    let data = Data {
        buckets: opened.schedule.groups().iter().map(bucket).collect(),
        steps_per_epoch: opened.schedule.steps_per_epoch() as u64,
        held_out: opened.held_out.len() as u64,
    };
    let prompts = settings.validation_prompts.iter().flat_map(|prompt| {
        settings.validation_resolution.iter().map(|size| PromptPictures {
            name: prompt.name.clone(),
            text: prompt.text.clone(),
            size: (size.width, size.height),
        })
    });
    let samples = opened.dataset.samples.iter().map(|sample| {
        (sample.path.display().to_string(), sample.captions.first().cloned().unwrap_or_default())
    });
    Ok(About {
        title,
        total: opened.schedule.total_steps() as u64,
        data,
        settings: settings.told()?.into_iter().map(section).collect(),
        memory: memory_parts(memory),
        prompts: prompts.collect(),
        samples: samples.collect(),
    })
}

fn section(section: ToldSection) -> Section {
    let row = |row: crate::settings::ToldSetting| SettingRow {
        key: row.key.to_owned(),
        value: row.value,
        doc: row.doc.to_owned(),
        changed: row.changed,
    };
    Section { title: section.title.to_owned(), rows: section.rows.into_iter().map(row).collect() }
}

fn memory_parts(memory: &MemoryPlan) -> Vec<MemoryPart> {
    let parts = [
        ("weights", memory.weights),
        ("adapters", memory.adapters),
        ("gradients", memory.gradients),
        ("optimizer", memory.optimizer),
        ("moving average", memory.average),
        ("step state", memory.step_state),
        ("activations and scratch", memory.arena),
        ("together", memory.total()),
    ];
    parts.map(|(name, bytes)| MemoryPart { name: name.to_owned(), bytes: bytes as u64 }).to_vec()
}

#[cfg(test)]
mod tests {
    use super::thinned;

    #[test]
    fn many_steps_are_thinned_evenly_and_keep_their_ends() {
        let steps: Vec<u64> = (0..=100).map(|i| i * 200).collect();
        let kept = thinned(steps.clone(), 5);
        assert_eq!(kept, [0, 5000, 10_000, 15_000, 20_000]);
        assert_eq!(thinned(steps.clone(), 200), steps);
        assert_eq!(thinned(vec![0, 1, 2], 2), [0, 2]);
    }
}
