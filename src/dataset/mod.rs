//! From folders of pictures and captions to samples, buckets and an epoch's order.
//!
//! [`Dataset::open`] walks the folders, checks every picture and caption, and gives each picture its
//! bucket and crop. [`Schedule`] then says which samples an optimizer step sees.

mod buckets;
mod captions;
mod crop;
mod folder;
mod held_out;
mod jpeg;
mod order;
mod picture;
mod sample;
mod scan;

pub use buckets::{Bucket, bucket_for, buckets_at};
pub use captions::{
    Alike, CaptionLines, CaptionOptions, CaptionStrategy, Captioned, Captions, Naming, Oddity, Survey,
    TableOptions, Trigger, Vocabulary, caption_dropped, caption_variant, has_metadata, has_trigger,
    with_trigger,
};
pub use crop::{Crop, Pixels};
pub use folder::{FoundPicture, has_pictures, pictures_in};
pub use held_out::hold_out;
pub use order::{Batch, BucketCount, Length, Schedule, ScheduleOptions};
pub use sample::Sample;

use crate::error::{Error, ErrorKind, Result};
use rayon::prelude::*;
use std::path::{Path, PathBuf};

/// One folder of pictures and how it is read.
#[derive(Debug, Clone)]
pub struct Source {
    /// The name of this source in reports.
    pub id: String,
    /// The folder, walked recursively.
    pub folder: PathBuf,
    /// Where captions come from, and what is done to them.
    pub captions: CaptionOptions,
    /// How often an epoch shows each picture; 1 is once.
    pub passes: usize,
    /// The side of the square bucket in pixels; the other buckets have about the same area.
    pub resolution: usize,
    /// Whether there is the square bucket only.
    pub only_square: bool,
    /// Pictures whose shorter side has fewer pixels are left out.
    pub minimum_side: u32,
}

/// What [`Dataset::open`] needs to know.
#[derive(Debug, Clone)]
pub struct DatasetOptions {
    /// The folders, in the order in which their samples are numbered.
    pub sources: Vec<Source>,
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
        let mut dataset = Self { samples: Vec::new(), broken: Vec::new(), notes: Vec::new() };
        for source in &options.sources {
            dataset.add(source, options)?;
        }
        Ok(dataset)
    }

    /// Reads one source and appends its samples.
    fn add(&mut self, source: &Source, options: &DatasetOptions) -> Result<()> {
        if source.passes == 0 {
            return Err(Error::setting("repeats", format!("source `{}` is never shown", source.id)));
        }
        let mut buckets = buckets_at(source.resolution)?;
        if source.only_square {
            buckets.truncate(1);
        }
        check_side(&buckets[0], source, options.max_side, None)?;
        let found = scan::pictures(&source.folder)?;
        self.notes.extend(found.notes);
        let captions = Captions::open(&source.captions, &source.folder, &found.pictures)?;
        self.notes.extend_from_slice(captions.notes());
        let read: Vec<Result<Sample>> = found
            .pictures
            .par_iter()
            .map(|path| Sample::read(path, source, &captions, &buckets, options.check_pixels))
            .collect();
        let (good, broken): (Vec<_>, Vec<_>) = read.into_iter().partition(Result::is_ok);
        let good = good.into_iter().filter_map(Result::ok);
        let (good, small): (Vec<Sample>, Vec<Sample>) =
            good.partition(|sample| sample.size.0.min(sample.size.1) >= source.minimum_side);
        if !small.is_empty() {
            let (id, count, side) = (&source.id, small.len(), source.minimum_side);
            self.notes.push(format!("`{id}`: {count} pictures with a side below {side} pixels are left out"));
        }
        let broken: Vec<Error> = broken.into_iter().filter_map(Result::err).collect();
        refuse_broken(source, good.len(), &broken, options.skip_broken_images)?;
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
        source.resolution, source.id
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
