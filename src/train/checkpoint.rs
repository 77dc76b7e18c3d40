//! Checkpoints: what a run can be resumed from, whole on disk or not there.
//!
//! A checkpoint is a folder `checkpoint-N` with the LoRA after N steps and, in the newest ones, the state: every
//! number that training goes on from (`state.safetensors`), and what it belongs to, with checksums (`state.json`).

use super::output_folder::{self, OutputFolder, REMOVING, Resume, WRITING};
use super::places::LORA_FILE;
use crate::error::{Error, ErrorKind, Result};
use crate::export::{SaveDtype, write_adapters};
use crate::files;
use crate::models::adapter::AdapterModule;
use crate::settings::{self, RunSettings};
use crate::weights::{TensorBytes, TensorFile, write_tensors};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

const PREFIX: &str = "checkpoint-";
const STATE_FILE: &str = "state.safetensors";
const ABOUT_FILE: &str = "state.json";
/// The layout of the state; another number is refused.
const FORMAT: u64 = 1;

/// A run after a step.
#[derive(Debug, Clone, Copy)]
pub struct Snapshot<'a> {
    /// Finished optimizer steps.
    pub step: u64,
    /// The LoRA as it is exported.
    pub modules: &'a [AdapterModule],
    /// Number format of the exported LoRA.
    pub dtype: SaveDtype,
    /// The settings in the LoRA's header.
    pub header_settings: &'a Value,
    /// All numbers that training goes on from, by name.
    pub tensors: &'a [(&'a str, &'a [f32])],
    /// The settings as used.
    pub settings: &'a Value,
}

/// A checkpoint on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// Finished optimizer steps.
    pub step: u64,
    /// Its folder.
    pub folder: PathBuf,
    /// Whether it has what resuming needs; a LoRA it has always.
    pub has_state: bool,
}

/// Where a run goes on.
#[derive(Debug)]
pub struct Found {
    /// The checkpoint to resume from; `None` is a fresh start.
    pub checkpoint: Option<Checkpoint>,
    /// What is wrong with newer checkpoints, which are therefore passed over.
    pub damaged: Vec<Error>,
}

/// What a checkpoint's state holds.
#[derive(Debug, Clone, PartialEq)]
pub struct Restored {
    /// Finished optimizer steps.
    pub step: u64,
    /// The numbers of [`Snapshot::tensors`], bit for bit.
    pub tensors: BTreeMap<String, Vec<f32>>,
    /// The settings that the run was begun with, as used.
    pub settings: Value,
}

/// The contents of `state.json`.
#[derive(Debug, Serialize, Deserialize)]
struct About {
    format: u64,
    step: u64,
    files: BTreeMap<String, Checksum>,
    settings: Value,
}

/// Tells a whole file from a torn or altered one.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Checksum {
    bytes: u64,
    crc32c: u32,
}

/// The name of the checkpoint after `step`.
pub fn name(step: u64) -> String {
    format!("{PREFIX}{step}")
}

/// Writes the checkpoint of `snapshot`. A crash or an error leaves either none of its name or all of it.
///
/// # Errors
/// A number that is not finite; what the disk says.
pub fn save(output: &OutputFolder, snapshot: &Snapshot<'_>) -> Result<()> {
    refuse_not_finite(snapshot)?;
    publish(output, snapshot.step, |folder| {
        let lora = folder.join(LORA_FILE);
        write_adapters(&lora, snapshot.modules, snapshot.dtype, snapshot.header_settings)?;
        let tensors = snapshot.tensors.iter();
        let tensors: Vec<_> =
            tensors.map(|&(name, values)| TensorBytes::f32(name, [values.len()], values)).collect();
        write_tensors(&folder.join(STATE_FILE), &tensors, &BTreeMap::new())?;
        let sum = |file: &str| Ok((file.to_owned(), checksum(&folder.join(file))?));
        let about = About {
            format: FORMAT,
            step: snapshot.step,
            files: [LORA_FILE, STATE_FILE].into_iter().map(sum).collect::<Result<_>>()?,
            settings: snapshot.settings.clone(),
        };
        let path = folder.join(ABOUT_FILE);
        let json = serde_json::to_vec_pretty(&about).map_err(|e| Error::io(&path, &e.into()))?;
        files::replace_bytes(&path, &json)
    })
}

/// Makes the LoRA of the checkpoint after `step` the run's.
pub fn export(output: &OutputFolder, step: u64) -> Result<()> {
    let from = output.checkpoint(step).join(LORA_FILE);
    let bytes = std::fs::read(&from).map_err(|e| Error::io(&from, &e))?;
    files::replace_bytes(&output.lora(), &bytes)
}

/// Whether the run's LoRA is that of the checkpoint after `step`.
pub fn is_exported(output: &OutputFolder, step: u64) -> Result<bool> {
    let exported = output.lora();
    Ok(exported.is_file() && checksum(&exported)? == checksum(&output.checkpoint(step).join(LORA_FILE))?)
}

/// Keeps the newest `total_limit` checkpoints (0: all) up to that after step `written`, the state of the newest
/// `state_limit` of them, and the LoRA alone of the others.
///
/// The checkpoint after step `best` stays whole, whatever the limits say.
///
/// Checkpoints after `written` are of a course that the run has left, by resuming from before them; they go too.
/// Call this once the checkpoint after `written` is saved, so that there always is one to resume from.
pub fn prune(
    output: &OutputFolder,
    written: u64,
    (total_limit, state_limit): (usize, usize),
    best: Option<u64>,
) -> Result<()> {
    let (course, left): (Vec<_>, Vec<_>) =
        list(output)?.into_iter().partition(|checkpoint| checkpoint.step <= written);
    for checkpoint in &left {
        remove(output, checkpoint)?;
    }
    for (index, checkpoint) in course.iter().enumerate() {
        if best == Some(checkpoint.step) {
            continue;
        }
        let newer = course.len() - 1 - index;
        if total_limit > 0 && newer >= total_limit {
            remove(output, checkpoint)?;
        } else if newer >= state_limit.max(1) {
            remove_state(checkpoint)?;
        }
    }
    Ok(())
}

/// The checkpoint that `resume` means.
///
/// # Errors
/// A named checkpoint that is missing, damaged or without state; checkpoints of which none can be resumed.
pub fn find(output: &OutputFolder, resume: &Resume) -> Result<Found> {
    match resume {
        Resume::No => Ok(Found { checkpoint: None, damaged: Vec::new() }),
        Resume::Latest => latest(output),
        Resume::Named(name) => Ok(Found { checkpoint: Some(named(output, name)?), damaged: Vec::new() }),
    }
}

/// The newest checkpoint that has its state and is undamaged, or none where there are no checkpoints.
///
/// # Errors
/// Checkpoints of which none can be resumed, or a LoRA without any: a fresh start would overwrite them.
pub fn latest(output: &OutputFolder) -> Result<Found> {
    let all = list(output)?;
    let mut damaged = Vec::new();
    for checkpoint in all.iter().rev().filter(|checkpoint| checkpoint.has_state) {
        match verify(checkpoint) {
            Ok(_) => return Ok(Found { checkpoint: Some(checkpoint.clone()), damaged }),
            Err(error) => damaged.push(error),
        }
    }
    if all.is_empty() {
        output.refuse_earlier_run()?;
        return Ok(Found { checkpoint: None, damaged });
    }
    let mut cause = String::from("none of the checkpoints can be resumed");
    if let Some(error) = damaged.first() {
        cause.push_str(&format!(": {}: {}", error.place, error.cause));
    }
    Err(Error::new(ErrorKind::Training, output.path().display().to_string(), cause)
        .hint("overwrite=true instead of resume_from_checkpoint begins afresh in their place"))
}

/// The checkpoint called `wanted`, such as `checkpoint-500`.
///
/// # Errors
/// One that is missing, damaged or without state; the error says which could be resumed.
pub fn named(output: &OutputFolder, wanted: &str) -> Result<Checkpoint> {
    let all = list(output)?;
    let resumable: Vec<_> = all.iter().filter(|c| c.has_state).map(|c| name(c.step)).collect();
    let refused = |cause: &str| {
        let hint = match resumable.as_slice() {
            [] => "no checkpoint in the output folder can be resumed".to_owned(),
            names => format!("these can be resumed: {}", names.join(", ")),
        };
        let place = output.path().join(wanted).display().to_string();
        Error::new(ErrorKind::Training, place, cause).hint(hint)
    };
    let found = all.iter().find(|checkpoint| name(checkpoint.step) == wanted);
    match found {
        None => Err(refused("there is no such checkpoint")),
        Some(checkpoint) if !checkpoint.has_state => {
            Err(refused("this checkpoint keeps the LoRA alone, it cannot be resumed"))
        }
        Some(checkpoint) => verify(checkpoint).map(|_| checkpoint.clone()).map_err(|e| refused(&e.cause)),
    }
}

/// Reads the state of `checkpoint`.
pub fn load(checkpoint: &Checkpoint) -> Result<Restored> {
    let about = verify(checkpoint)?;
    let file = TensorFile::open(&checkpoint.folder.join(STATE_FILE))?;
    let read = |name: &str| Ok((name.to_owned(), file.read_f32(name)?));
    let tensors = file.names().map(read).collect::<Result<_>>()?;
    Ok(Restored { step: about.step, tensors, settings: about.settings })
}

/// All checkpoints in the output folder, oldest first.
pub fn list(output: &OutputFolder) -> Result<Vec<Checkpoint>> {
    list_in(output.path())
}

/// The most that the checkpoints and the LoRA of a run of `total_steps` take on disk at a time, one that is being
/// written included.
///
/// `trainable_elements` are the LoRA's numbers; `flat_elements` is the length of a flat buffer (parameters, each
/// moment, the moving average).
pub fn planned_disk_bytes(
    trainable_elements: u64,
    flat_elements: u64,
    total_steps: u64,
    settings: &RunSettings,
) -> u64 {
    /// Headers and settings of a checkpoint, generously.
    const BESIDE_NUMBERS: u64 = 1 << 20;
    let lora = trainable_elements
        * match settings.save_dtype {
            settings::SaveDtype::Bf16 => 2,
            settings::SaveDtype::Fp32 => 4,
        };
    let state = flat_elements * 4 * (3 + u64::from(settings.use_ema));
    let written = 1 + total_steps.checked_div(settings.checkpointing_steps).unwrap_or(0);
    let at_a_time = |limit: usize| written.min((limit as u64).saturating_add(1));
    let checkpoints = match settings.checkpoints_total_limit {
        0 => written,
        limit => at_a_time(limit),
    };
    let states = at_a_time(settings.checkpoints_state_limit).min(checkpoints);
    (checkpoints + 1) * (lora + BESIDE_NUMBERS) + states * state
}

/// Bytes in the checkpoints in the output folder at `folder`.
pub fn bytes_in(folder: &Path) -> Result<u64> {
    list_in(folder)?.iter().map(|checkpoint| files::bytes_in(&checkpoint.folder)).sum()
}

/// Removes `checkpoint`; a crash meanwhile leaves a folder of a temporary name, which the next run removes.
pub(super) fn remove(output: &OutputFolder, checkpoint: &Checkpoint) -> Result<()> {
    let condemned = condemn(output, checkpoint.step)?;
    std::fs::remove_dir_all(&condemned).map_err(|e| Error::io(&condemned, &e))
}

/// Gives the checkpoint after `step` a temporary name.
fn condemn(output: &OutputFolder, step: u64) -> Result<PathBuf> {
    let (folder, condemned) =
        (output.checkpoint(step), output.path().join(format!("{REMOVING}{}", name(step))));
    std::fs::rename(&folder, &condemned).map_err(|e| Error::io(&folder, &e))?;
    Ok(condemned)
}

/// Without `state.json` a checkpoint has no state, so that goes first.
fn remove_state(checkpoint: &Checkpoint) -> Result<()> {
    output_folder::remove_file(&checkpoint.folder.join(ABOUT_FILE))?;
    output_folder::remove_file(&checkpoint.folder.join(STATE_FILE))
}

fn list_in(folder: &Path) -> Result<Vec<Checkpoint>> {
    let checkpoint = |(name, folder): (String, PathBuf)| {
        let has_state = [ABOUT_FILE, STATE_FILE].iter().all(|file| folder.join(file).is_file());
        Some(Checkpoint { step: step_of(&name).filter(|_| folder.is_dir())?, folder, has_state })
    };
    let mut all: Vec<_> = output_folder::entries(folder)?.into_iter().filter_map(checkpoint).collect();
    all.sort_by_key(|checkpoint| checkpoint.step);
    Ok(all)
}

/// The step in a checkpoint's name; `None` for other names.
fn step_of(folder: &str) -> Option<u64> {
    let step = folder.strip_prefix(PREFIX)?.parse().ok()?;
    (name(step) == folder).then_some(step)
}

/// Lets `fill` write into a temporary folder and gives that its name once everything is on disk.
fn publish(output: &OutputFolder, step: u64, fill: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let at = |e: std::io::Error| Error::io(&output.checkpoint(step), &e);
    let mut builder = tempfile::Builder::new();
    builder.prefix(WRITING).permissions(std::fs::Permissions::from_mode(0o755));
    let writing = builder.tempdir_in(output.path()).map_err(at)?;
    fill(writing.path())?;
    sync_folder(writing.path())?;
    let folder = output.checkpoint(step);
    let replaced = if folder.exists() { Some(condemn(output, step)?) } else { None };
    std::fs::rename(writing.path(), &folder).map_err(at)?;
    let _ = writing.keep(); // It has its name now; dropping it would remove what lies under the old one.
    sync_folder(output.path())?;
    replaced.map_or(Ok(()), |path| std::fs::remove_dir_all(&path).map_err(|e| Error::io(&path, &e)))
}

/// Puts a folder's names on disk.
fn sync_folder(folder: &Path) -> Result<()> {
    File::open(folder).and_then(|file| file.sync_all()).map_err(|e| Error::io(folder, &e))
}

fn refuse_not_finite(snapshot: &Snapshot<'_>) -> Result<()> {
    let broken = snapshot.tensors.iter().find(|(_, values)| !values.iter().all(|value| value.is_finite()));
    let Some((name, _)) = broken else { return Ok(()) };
    let place = format!("step {}, `{name}`", snapshot.step);
    Err(Error::new(ErrorKind::Training, place, "it holds values that are not finite")
        .hint("no checkpoint was written; resume from an earlier one with a lower learning rate"))
}

/// What `state.json` says, if everything is as it says.
fn verify(checkpoint: &Checkpoint) -> Result<About> {
    let path = checkpoint.folder.join(ABOUT_FILE);
    let damaged = |path: &Path, cause: String| {
        Error::new(ErrorKind::Training, path.display().to_string(), cause).hint("an older checkpoint may do")
    };
    let bytes = std::fs::read(&path).map_err(|e| Error::io(&path, &e))?;
    let about: About = serde_json::from_slice(&bytes)
        .map_err(|e| damaged(&path, format!("the checkpoint is damaged ({e})")))?;
    if about.format != FORMAT {
        let cause = format!("the state has format {}, this version reads format {FORMAT}", about.format);
        return Err(damaged(&path, cause));
    }
    if about.step != checkpoint.step {
        let cause = format!("the state is that of step {}, the folder has another name", about.step);
        return Err(damaged(&path, cause));
    }
    if !about.files.contains_key(STATE_FILE) {
        return Err(damaged(&path, format!("the checkpoint is damaged (no checksum of {STATE_FILE})")));
    }
    for (file, expected) in &about.files {
        let path = checkpoint.folder.join(file);
        let found = checksum(&path)?;
        if found.bytes != expected.bytes {
            let cause = format!("the file is torn: {} bytes instead of {}", found.bytes, expected.bytes);
            return Err(damaged(&path, cause));
        }
        if found != *expected {
            return Err(damaged(&path, "the file is damaged: its checksum is another".to_owned()));
        }
    }
    Ok(about)
}

fn checksum(path: &Path) -> Result<Checksum> {
    let mut file = File::open(path).map_err(|e| Error::io(path, &e))?;
    let mut buffer = vec![0; 1 << 20];
    let mut sum = Checksum { bytes: 0, crc32c: 0 };
    loop {
        match file.read(&mut buffer).map_err(|e| Error::io(path, &e))? {
            0 => return Ok(sum),
            read => {
                sum.bytes += read as u64;
                sum.crc32c = crc32c::crc32c_append(sum.crc32c, &buffer[..read]);
            }
        }
    }
}

#[cfg(test)]
mod tests;
