//! The output folder of a run: its lock, and the rules for beginning in it.

use super::checkpoint;
use super::places::{LORA_FILE, Places, TENSORBOARD, VALIDATION, VALIDATION_STEP};
use crate::error::{Error, ErrorKind, Result};
use crate::files;
use crate::settings::Whole;
use serde_json::Value;
use std::fs::{File, TryLockError};
use std::io::{Read, Seek, Write};
use std::ops::Deref;
use std::path::{Path, PathBuf};

/// How the names of files and folders begin that are not whole yet.
pub(super) const WRITING: &str = ".writing-";
/// How the names of folders begin that are being removed.
pub(super) const REMOVING: &str = ".removing-";

const LOCK_FILE: &str = ".lock";
/// The folder of embeddings that only the coming steps need.
pub const EPOCH_TEXTS: &str = "epoch-texts";
const EVENTS: &str = "events.out.tfevents";

/// What a run wants of its output folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenOptions {
    /// Where training begins.
    pub resume: Resume,
    /// Whether a fresh run may take the place of an earlier one.
    pub overwrite: bool,
}

/// Where training begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resume {
    /// At the first step.
    No,
    /// After the newest checkpoint that can be resumed; at the first step if there is none.
    Latest,
    /// After the checkpoint of this name.
    Named(String),
}

impl Resume {
    /// What the value of `resume_from_checkpoint` means.
    pub fn from_setting(value: Option<&str>) -> Self {
        match value {
            None => Self::No,
            Some("latest") => Self::Latest,
            Some(name) => Self::Named(name.to_owned()),
        }
    }
}

/// An output folder that this process alone uses until it is dropped.
#[derive(Debug)]
pub struct OutputFolder {
    places: Places,
    _lock: File,
}

impl Deref for OutputFolder {
    type Target = Places;

    fn deref(&self) -> &Places {
        &self.places
    }
}

impl OutputFolder {
    /// Makes the folder if need be, locks it, and removes what interrupted writes have left.
    ///
    /// An earlier run stays until [`start_over`](Self::start_over), so that whatever else is wrong with the new
    /// one is found before the old one is lost.
    ///
    /// # Errors
    /// A folder that cannot be made or written, or that another run uses; a
    /// fresh run where an earlier one lies, without `overwrite`.
    pub fn open(path: &Path, options: &OpenOptions) -> Result<Self> {
        Self::refuse_unwritable(path)?;
        std::fs::create_dir_all(path).map_err(|e| unusable(path, cannot_write(path, &e)))?;
        let folder = Self { places: Places::new(path), _lock: lock(path)? };
        folder.remove_leftovers()?;
        if options.resume == Resume::No && !options.overwrite {
            folder.refuse_earlier_run()?;
        }
        Ok(folder)
    }

    /// Fails if the folder cannot be made or written; makes nothing.
    pub fn refuse_unwritable(path: &Path) -> Result<()> {
        if path.is_file() {
            return Err(unusable(path, "this is a file, not a folder"));
        }
        files::is_writable(path).map_err(|e| unusable(path, cannot_write(path, &e)))
    }

    /// Writes the settings, the data sets and the prompts, from which the run can be repeated.
    pub fn write_settings(&self, whole: &Whole) -> Result<()> {
        let write =
            |path: PathBuf, json: &Value| files::replace_bytes(&path, format!("{json:#}\n").as_bytes());
        whole.prompts.as_ref().map_or(Ok(()), |prompts| write(self.prompts(), prompts))?;
        write(self.data_backends(), &whole.data_backends)?;
        write(self.settings(), &whole.settings)
    }

    /// Removes what an earlier run has left: its checkpoints, LoRA, metrics, images, events and plots.
    ///
    /// Caches, and files that no run writes, stay.
    pub fn start_over(&self) -> Result<()> {
        for checkpoint in checkpoint::list(self)? {
            checkpoint::remove(self, &checkpoint)?;
        }
        for file in [
            self.lora(),
            self.metrics(),
            self.samples(),
            self.pictures(),
            self.plot(),
            self.before_after(),
            self.strengths(),
            self.evaluations(),
            self.notes(),
            self.report(),
            self.about(),
            self.pace(),
            self.held_out(),
        ] {
            remove_file(&file)?;
        }
        for (folder, prefix) in [(VALIDATION, VALIDATION_STEP), (TENSORBOARD, EVENTS)] {
            remove_entries(&self.path().join(folder), |name| name.starts_with(prefix))?;
        }
        Ok(())
    }

    /// Refuses to begin afresh where an earlier run lies.
    pub(super) fn refuse_earlier_run(&self) -> Result<()> {
        let found = match checkpoint::list(self)?.last() {
            Some(newest) => checkpoint::name(newest.step),
            None if self.lora().exists() => LORA_FILE.to_owned(),
            None => return Ok(()),
        };
        let cause = format!("an earlier run lies here ({found})");
        Err(Error::new(ErrorKind::Files, self.path().display().to_string(), cause).hint(
            "resume_from_checkpoint=latest goes on with it, overwrite=true begins afresh in its place, \
             another output_dir keeps both",
        ))
    }

    fn remove_leftovers(&self) -> Result<()> {
        let is_leftover = |name: &str| name.starts_with(WRITING) || name.starts_with(REMOVING);
        remove_entries(self.path(), is_leftover)?;
        let validation = self.path().join(VALIDATION);
        for (_, folder) in entries(&validation)? {
            remove_entries(&folder, is_leftover)?;
        }
        Ok(())
    }
}

/// Locks the folder at `path` until the file is closed, which the system does even for a process that is killed.
fn lock(path: &Path) -> Result<File> {
    let lock_path = path.join(LOCK_FILE);
    let failed = |e: &std::io::Error| unusable(path, cannot_write(path, e));
    let mut options = File::options();
    let mut file = options
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&lock_path)
        .map_err(|e| failed(&e))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(in_use(path, &mut file)),
        Err(TryLockError::Error(e)) => return Err(Error::io(&lock_path, &e)),
    }
    file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id())).map_err(|e| failed(&e))?;
    Ok(file)
}

/// The lock file says which process holds it.
fn in_use(path: &Path, file: &mut File) -> Error {
    let mut process = String::new();
    let is_known = file.rewind().and_then(|()| file.take(20).read_to_string(&mut process)).is_ok();
    let holder = match process.trim() {
        process if is_known && !process.is_empty() => format!(" (process {process})"),
        _ => String::new(),
    };
    let cause = format!("another run is using this folder{holder}");
    Error::new(ErrorKind::Files, path.display().to_string(), cause)
        .hint("wait until it has ended, stop it, or choose another output_dir")
}

fn unusable(path: &Path, cause: impl Into<String>) -> Error {
    Error::new(ErrorKind::Files, path.display().to_string(), cause)
        .hint("choose an output_dir that can be written")
}

fn cannot_write(path: &Path, source: &std::io::Error) -> String {
    format!("the output folder cannot be written: {}", Error::io(path, source).cause)
}

/// The names and paths in `folder`, sorted; none if it does not exist. Names that are not UTF-8 are none of ours.
pub(super) fn entries(folder: &Path) -> Result<Vec<(String, PathBuf)>> {
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(|e| Error::io(folder, &e))? {
        let entry = entry.map_err(|e| Error::io(folder, &e))?;
        if let Ok(name) = entry.file_name().into_string() {
            all.push((name, entry.path()));
        }
    }
    all.sort();
    Ok(all)
}

fn remove_entries(folder: &Path, is_meant: impl Fn(&str) -> bool) -> Result<()> {
    for (_, path) in entries(folder)?.into_iter().filter(|(name, _)| is_meant(name)) {
        if path.is_dir() && !path.is_symlink() {
            std::fs::remove_dir_all(&path).map_err(|e| Error::io(&path, &e))?;
        } else {
            remove_file(&path)?;
        }
    }
    Ok(())
}

/// Removes a file that may not be there.
pub(super) fn remove_file(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Error::io(path, &e)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRESH: OpenOptions = OpenOptions { resume: Resume::No, overwrite: false };

    fn write(folder: &Path, file: &str) -> PathBuf {
        let path = folder.join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, "x").unwrap();
        path
    }

    #[test]
    fn a_new_folder_is_made_and_things_have_their_places() {
        let root = tempfile::tempdir().unwrap();
        let folder = OutputFolder::open(&root.path().join("a/b"), &FRESH).unwrap();
        let inside = |path: PathBuf| path.strip_prefix(folder.path()).unwrap().display().to_string();
        assert_eq!(inside(folder.checkpoint(200)), "checkpoint-200");
        assert_eq!(
            inside(folder.validation_image(200, "fish", 128, 64)),
            "validation/step-000200/fish_128x64.png"
        );
        let settings = serde_json::json!({"seed": 1});
        let whole = Whole { settings, data_backends: serde_json::json!([]), prompts: None };
        folder.write_settings(&whole).unwrap();
        assert_eq!(std::fs::read_to_string(folder.settings()).unwrap(), "{\n  \"seed\": 1\n}\n");
        assert!(!folder.prompts().exists());
    }

    #[test]
    fn a_folder_in_use_is_refused_and_says_by_whom() {
        let root = tempfile::tempdir().unwrap();
        let held = OutputFolder::open(root.path(), &FRESH).unwrap();
        let error = OutputFolder::open(root.path(), &FRESH).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Files);
        assert!(error.cause.contains(&format!("process {}", std::process::id())), "{error}");
        drop(held);
        OutputFolder::open(root.path(), &FRESH).unwrap();
    }

    #[test]
    fn a_lock_file_that_nobody_holds_does_not_block() {
        let root = tempfile::tempdir().unwrap();
        std::fs::write(root.path().join(LOCK_FILE), "999999\n").unwrap();
        OutputFolder::open(root.path(), &FRESH).unwrap();
        let own = format!("{}\n", std::process::id());
        assert_eq!(std::fs::read_to_string(root.path().join(LOCK_FILE)).unwrap(), own);
    }

    #[test]
    fn a_fresh_run_does_not_touch_an_earlier_one_unless_told_to() {
        for earlier in ["checkpoint-20/pytorch_lora_weights.safetensors", LORA_FILE] {
            let root = tempfile::tempdir().unwrap();
            let file = write(root.path(), earlier);
            let error = OutputFolder::open(root.path(), &FRESH).unwrap_err();
            assert!(error.hint.contains("resume_from_checkpoint=latest"), "{error}");
            assert!(error.hint.contains("overwrite=true"), "{error}");
            assert!(file.exists());
            OutputFolder::open(root.path(), &OpenOptions { resume: Resume::Latest, ..FRESH }).unwrap();
            OutputFolder::open(root.path(), &OpenOptions { overwrite: true, ..FRESH }).unwrap();
            assert!(file.exists());
        }
    }

    #[test]
    fn starting_over_removes_the_earlier_run_and_nothing_else() {
        let root = tempfile::tempdir().unwrap();
        let gone = [
            "checkpoint-20/state.json",
            "checkpoint-100/pytorch_lora_weights.safetensors",
            LORA_FILE,
            "metrics.jsonl",
            "training.png",
            "validation/step-000020/a_1x1.png",
            "tensorboard/events.out.tfevents.1.a",
        ];
        let kept =
            ["cache/x.safetensors", "notes.txt", "validation/mine.png", "checkpoint-old/a", "tensorboard/b"];
        let gone = gone.map(|file| write(root.path(), file));
        let kept = kept.map(|file| write(root.path(), file));
        let folder = OutputFolder::open(root.path(), &OpenOptions { overwrite: true, ..FRESH }).unwrap();
        folder.start_over().unwrap();
        assert_eq!(gone.iter().find(|path| path.exists()), None);
        assert_eq!(kept.iter().find(|path| !path.exists()), None);
        assert!(!folder.checkpoint(20).exists());
    }

    #[test]
    fn what_interrupted_writes_left_is_removed() {
        let root = tempfile::tempdir().unwrap();
        let left = [
            ".writing-Ab12",
            ".writing-checkpoint/state.safetensors",
            ".removing-checkpoint-3/a",
            "validation/step-000000/.writing-x",
        ];
        let left = left.map(|file| write(root.path(), file));
        OutputFolder::open(root.path(), &FRESH).unwrap();
        assert_eq!(left.iter().find(|path| path.exists()), None);
    }

    #[test]
    fn a_place_that_cannot_be_written_is_refused_in_words() {
        let root = tempfile::tempdir().unwrap();
        let file = write(root.path(), "file");
        for (path, cause) in [
            (file.clone(), "this is a file"),
            (file.join("out"), "cannot be written"),
            // No process may make folders here, not even the administrator's.
            (PathBuf::from("/proc/sargent"), "cannot be written"),
        ] {
            let error = OutputFolder::open(&path, &FRESH).unwrap_err();
            assert_eq!(error.kind, ErrorKind::Files);
            assert!(error.cause.contains(cause) && error.hint.contains("output_dir"), "{error}");
        }
        let denied = std::io::Error::from(std::io::ErrorKind::ReadOnlyFilesystem);
        assert!(cannot_write(&file, &denied).contains("read-only"));
    }
}
