//! From folders of pictures and captions to samples, buckets and an epoch's order.
//!
//! [`Dataset::open`] walks the folders, checks every picture and caption, and gives each picture its
//! bucket and its views. [`Schedule`] then says which samples an optimizer step sees.

mod admission;
mod augmentation;
mod buckets;
mod captioning;
mod captions;
mod colour;
mod crop;
mod folder;
mod framing;
mod held_out;
mod jitter;
mod jpeg;
mod order;
pub mod picture;
mod picture_draw;
mod sample;
pub mod scan;
mod steps;
mod turn;
mod upright;
mod view;
mod wording;

pub use admission::Admission;
pub use augmentation::{Augmentation, Change};
pub use buckets::{Bucket, Measure, bucket_for, buckets_at, buckets_of, usual_aspects};
pub use captioning::{Captioning, encoders_dropped};
pub use captions::{
    Alike, CaptionLines, CaptionOptions, CaptionStrategy, Captioned, Captions, Naming, Oddity, Survey,
    TableOptions, Trigger, Vocabulary, has_metadata, has_trigger, with_trigger,
};
pub use crop::{Crop, Filter, Pixels, resample};
pub use folder::{FoundPicture, has_pictures, pictures_in};
pub use framing::{Downsample, Framing, Place, Shapes};
pub use held_out::hold_out;
pub use order::{Batch, Schedule};
pub use sample::{Sample, content_hash};
pub use steps::{
    GroupSteps, Length, Readings, Repeats, Sampling, ScheduleOptions, SetCount, SetSteps, Share, Steps,
};
pub use view::{View, shown_view};
pub use wording::Wording;

use crate::error::{Error, ErrorKind, Result};
use rayon::prelude::*;
use sample::Reading;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// One folder of pictures and how it is read.
#[derive(Debug, Clone)]
pub struct Source {
    /// The name of this source in reports.
    pub id: String,
    /// The folder, walked recursively.
    pub folder: PathBuf,
    /// Where captions come from, and what is done to them.
    pub captions: CaptionOptions,
    /// How captions change from one appearance to the next.
    pub wording: Arc<Wording>,
    /// How often an epoch shows its pictures.
    pub share: Share,
    /// What training makes of its pictures.
    pub lesson: Lesson,
    /// Buckets and windows.
    pub framing: Framing,
    /// Which pictures are taken.
    pub admission: Admission,
    /// How pictures are varied.
    pub augmentation: Augmentation,
}

/// What training makes of the pictures of a data set.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Lesson {
    /// What a picture's loss is multiplied by.
    pub loss_weight: f64,
    /// Whether the target is what the model predicts without adapters, instead of the picture's own.
    pub keeps_the_model: bool,
}

impl Default for Lesson {
    /// The picture's own target at full weight.
    fn default() -> Self {
        Self { loss_weight: 1.0, keeps_the_model: false }
    }
}

/// What [`Dataset::open`] needs to know.
#[derive(Debug, Clone)]
pub struct DatasetOptions {
    /// The folders, in the order in which their samples are numbered.
    pub sources: Vec<Source>,
    /// The run's seed, which random crops and changes follow.
    pub seed: u64,
    /// The longest picture side in pixels that the model's position table covers.
    pub max_side: Option<usize>,
    /// Whether a picture that cannot be used is reported and left out instead of stopping the run.
    pub skip_broken_images: bool,
    /// Whether every picture is decoded to the last pixel; otherwise only headers are read, as a plan does.
    pub check_pixels: bool,
}

/// Pictures and captions that are fit for training.
#[derive(Debug, Clone)]
pub struct Dataset {
    /// The samples; everything else refers to one by its index here.
    pub samples: Vec<Sample>,
    /// The data sets; a sample refers to its own by the index here.
    pub sources: Vec<Source>,
    /// What was wrong with each picture that was left out.
    pub broken: Vec<Error>,
    /// Remarks on the dataset that do not stop a run, one line each.
    pub notes: Vec<String>,
}

impl Dataset {
    /// Reads all sources.
    ///
    /// # Errors
    /// A source without a folder or pictures, a picture or caption that cannot be used (unless those are
    /// skipped), or a resolution whose buckets do not fit `max_side`.
    pub fn open(options: &DatasetOptions) -> Result<Self> {
        if options.sources.is_empty() {
            return Err(Error::setting("data_backend_config", "names no folder of pictures")
                .hint("add an entry with `id` and `instance_data_dir`"));
        }
        let sources = options.sources.clone();
        let mut dataset = Self { samples: Vec::new(), sources, broken: Vec::new(), notes: Vec::new() };
        for (index, source) in options.sources.iter().enumerate() {
            dataset.add(index, source, options)?;
        }
        Ok(dataset)
    }

    /// The data set that sample `index` belongs to.
    pub fn source_of(&self, index: usize) -> &Source {
        &self.sources[self.samples[index].source]
    }

    /// The buckets of all samples, those that are held out included.
    pub fn buckets(&self) -> BTreeSet<Bucket> {
        self.samples.iter().map(|sample| sample.bucket).collect()
    }

    /// Reads one source and appends its samples.
    fn add(&mut self, index: usize, source: &Source, options: &DatasetOptions) -> Result<()> {
        let buckets = source.framing.buckets()?;
        let first = buckets.first().ok_or_else(|| Error::setting("crop_aspect_buckets", "is empty"))?;
        check_side(first, source, options.max_side, None)?;
        let found = scan::pictures(&source.folder)?;
        self.notes.extend(found.notes);
        let captions = Captions::open(&source.captions, &source.folder, &found.pictures)?;
        self.notes.extend_from_slice(captions.notes());
        let (seed, check_pixels) = (options.seed, options.check_pixels);
        let reading = Reading { source, index, captions: &captions, buckets: &buckets, seed, check_pixels };
        let read: Vec<Result<Sample>> =
            found.pictures.par_iter().map(|path| Sample::read(path, &reading)).collect();
        let (good, broken): (Vec<_>, Vec<_>) = read.into_iter().partition(Result::is_ok);
        let good: Vec<Sample> = good.into_iter().filter_map(Result::ok).collect();
        let broken: Vec<Error> = broken.into_iter().filter_map(Result::err).collect();
        refuse_broken(source, good.len(), &broken, options.skip_broken_images)?;
        let (good, notes) = source.admission.admit(&source.id, good, seed);
        if good.is_empty() {
            return Err(Error::dataset(&source.folder, format!("no picture is left: {}", notes.join("; ")))
                .hint("lower the limits of this data set, or leave it out with \"disabled\": true"));
        }
        self.notes.extend(notes);
        for sample in &good {
            check_side(&sample.bucket, source, options.max_side, Some(&sample.path))?;
        }
        self.notes.extend(enlargement(source, &good));
        self.samples.extend(good);
        self.broken.extend(broken);
        Ok(())
    }
}

/// The first broken picture as an error if pictures may not be skipped, or if nothing else is left.
fn refuse_broken(source: &Source, good: usize, broken: &[Error], skip: bool) -> Result<()> {
    let Some(first) = broken.first() else { return Ok(()) };
    if !skip {
        let mut error = first.clone();
        if broken.len() > 1 {
            let more = format!("{} more pictures of `{}` cannot be used", broken.len() - 1, source.id);
            error.hint = format!("{} ({more})", error.hint);
        }
        return Err(error);
    }
    if good > 0 {
        return Ok(());
    }
    let cause = format!("none of the {} pictures can be used", broken.len());
    Err(Error::dataset(&source.folder, cause).hint(format!("the first: {}: {}", first.place, first.cause)))
}

/// Refuses a bucket that is larger than the position table; `picture` is what put us into it.
fn check_side(bucket: &Bucket, source: &Source, limit: Option<usize>, picture: Option<&Path>) -> Result<()> {
    let Some(limit) = limit.filter(|&limit| bucket.width.max(bucket.height) > limit) else {
        return Ok(());
    };
    let why = picture.map(|p| format!(", into which {} falls,", p.display())).unwrap_or_default();
    let cause = format!(
        "{} (source `{}`) has the bucket {bucket}{why} but the model's position table ends at {limit} pixels",
        source.framing.resolution, source.id
    );
    Err(Error::new(ErrorKind::Settings, "setting `resolution`", cause)
        .hint("choose a lower resolution or a model with a larger position table"))
}

/// A remark on pictures that are smaller than their bucket.
fn enlargement(source: &Source, samples: &[Sample]) -> Option<String> {
    let enlarged: Vec<&Sample> = samples.iter().filter(|sample| sample.scale() > 1.0).collect();
    let worst = enlarged.iter().max_by(|a, b| a.scale().total_cmp(&b.scale()))?;
    Some(format!(
        "`{}`: {} of {} pictures are smaller than their bucket and are enlarged, {} the most ({:.2}x)",
        source.id,
        enlarged.len(),
        samples.len(),
        worst.path.display(),
        worst.scale()
    ))
}

#[cfg(test)]
mod tests;
