//! What a run will come to keep on disk, and whether the disks have room for it.

use crate::cache::{Latents, TextEmbeddings};
use crate::dataset::Sample;
use crate::error::{Error, ErrorKind, Result};
use crate::files;
use crate::models::mmdit::config::LATENT_PIXEL;
use crate::run::{Opened, epoch_texts};
use crate::train::checkpoint;
use std::collections::BTreeMap;
use std::path::Path;

/// Bytes of checkpoints and LoRA at their most.
pub fn checkpoint_bytes(opened: &Opened) -> u64 {
    let persistent = &opened.persistent;
    let flat = persistent.elements();
    let total = opened.schedule.total_steps() as u64;
    checkpoint::planned_disk_bytes(persistent.trainable() as u64, flat as u64, total, &opened.settings)
}

/// Bytes of latents of every view and embeddings of every text that are kept at one time.
pub fn cache_bytes(opened: &Opened) -> u64 {
    latents_bytes(opened) + texts_bytes(opened) + epoch_texts::disk_bytes(opened)
}

fn latents_bytes(opened: &Opened) -> u64 {
    let of_sample = |sample: &Sample| {
        let bucket = sample.bucket;
        let shape = [opened.config.channels, bucket.height / LATENT_PIXEL, bucket.width / LATENT_PIXEL];
        (sample.views.len() * Latents::file_bytes(shape)) as u64
    };
    opened.dataset.samples.iter().map(of_sample).sum()
}

fn texts_bytes(opened: &Opened) -> u64 {
    let shape = [opened.text_tokens(), opened.config.context_width];
    opened.fixed_texts().len() as u64 * TextEmbeddings::file_bytes(shape, opened.config.pooled_width) as u64
}

/// Fails if a disk has no room for what the run will write on it. What lies in its folders already, of this run or
/// an earlier one, counts as written.
pub fn refuse_full(opened: &Opened) -> Result<()> {
    let output = opened.settings.output_dir.as_path();
    let passing = epoch_texts::disk_bytes(opened);
    let mut folders = BTreeMap::from([(output, checkpoint_bytes(opened) + passing)]);
    for (folder, bytes) in
        opened.cache_folders().into_iter().zip([latents_bytes(opened), texts_bytes(opened)])
    {
        *folders.entry(folder).or_default() += bytes;
    }
    let mut disks: BTreeMap<u64, (&Path, u64)> = BTreeMap::new();
    for (folder, planned) in folders {
        let present = if folder == output {
            checkpoint::bytes_in(folder)? + files::bytes_in(&epoch_texts::folder(opened))?
        } else {
            files::bytes_in(folder)?
        };
        let (_, needed) = disks.entry(files::disk_of(folder)?).or_insert((folder, 0));
        *needed = needed.saturating_add(planned.saturating_sub(present));
    }
    disks
        .into_values()
        .try_for_each(|(folder, needed)| refuse_too_small(folder, needed, files::free_space(folder)?))
}

fn refuse_too_small(folder: &Path, needed: u64, free: u64) -> Result<()> {
    if needed <= free {
        return Ok(());
    }
    let (needed, free) = (size(needed), size(free));
    let cause = format!("the run will write up to {needed} there, and the disk has room for {free}");
    Err(Error::new(ErrorKind::Files, folder.display().to_string(), cause).hint(
        "free some space, choose an output_dir or cache_dir on another disk, or lower checkpoints_total_limit and \
         checkpoints_state_limit",
    ))
}

/// Bytes as people read them.
fn size(bytes: u64) -> String {
    const UNITS: [(&str, u64); 3] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    match UNITS.iter().find(|(_, unit)| bytes >= *unit) {
        Some((name, unit)) => format!("{:.1} {name}", bytes as f64 / *unit as f64),
        None => format!("{bytes} bytes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_too_small_for_the_plan_is_refused_with_both_numbers() {
        let error = refuse_too_small(Path::new("out"), 3 << 30, 1 << 20).unwrap_err();
        assert_eq!((error.kind, error.place.as_str()), (ErrorKind::Files, "out"));
        assert!(error.cause.contains("3.0 GiB") && error.cause.contains("1.0 MiB"), "{error}");
        assert!(refuse_too_small(Path::new("out"), 500, 500).is_ok());
    }

    #[test]
    fn sizes_read_well() {
        assert_eq!([size(12), size(1 << 10), size(3 << 29)], ["12 bytes", "1.0 KiB", "1.5 GiB"]);
    }
}
