//! A file of one JSON object a step, in the order of the steps.

use crate::error::{Error, ErrorKind, Result};
use crate::files;
use serde::{Serialize, de::DeserializeOwned};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};

/// What a line says.
pub trait StepLine: Serialize + DeserializeOwned {
    /// What lines of this kind are called, after "a line of".
    const NAME: &'static str;

    /// The optimizer step, from 1.
    fn step(&self) -> u64;
}

/// The open file; each step is on disk's side of the program when `append` returns.
#[derive(Debug)]
pub struct StepLog<L> {
    path: PathBuf,
    file: File,
    line: PhantomData<L>,
}

impl<L: StepLine> StepLog<L> {
    /// Opens `path` for a run whose last finished step is `resumed_step` (0 for a fresh run); later steps, which the
    /// run will do again, and a line that a crash cut short are removed.
    ///
    /// # Errors
    /// A file that cannot be written, or whose lines are of another kind.
    pub fn open(path: &Path, resumed_step: u64) -> Result<Self> {
        let bytes =
            if path.exists() { std::fs::read(path).map_err(|e| Error::io(path, &e))? } else { vec![] };
        let mut kept = Vec::new();
        for (text, line) in parse::<L>(path, &bytes)? {
            if line.step() <= resumed_step {
                kept.extend_from_slice(text);
                kept.push(b'\n');
            }
        }
        files::replace_bytes(path, &kept)?;
        let file = OpenOptions::new().append(true).open(path).map_err(|e| Error::io(path, &e))?;
        Ok(Self { path: path.to_owned(), file, line: PhantomData })
    }

    /// Adds a step.
    pub fn append(&mut self, line: &L) -> Result<()> {
        let json = serde_json::to_string(line).map_err(|e| Error::io(&self.path, &e.into()))?;
        self.file.write_all((json + "\n").as_bytes()).map_err(|e| Error::io(&self.path, &e))
    }
}

/// All steps of `path`; a last line without its end, which a crash leaves, is not counted.
///
/// # Errors
/// No such file; a line of another kind, with its number.
pub fn read<L: StepLine>(path: &Path) -> Result<Vec<L>> {
    let bytes = std::fs::read(path).map_err(|e| Error::io(path, &e))?;
    Ok(parse(path, &bytes)?.into_iter().map(|(_, line)| line).collect())
}

/// The whole lines of the file with what they say.
fn parse<'a, L: StepLine>(path: &Path, bytes: &'a [u8]) -> Result<Vec<(&'a [u8], L)>> {
    let whole = bytes.iter().rposition(|&byte| byte == b'\n').unwrap_or(0);
    let lines = bytes[..whole].split(|&byte| byte == b'\n').enumerate().filter(|(_, line)| !line.is_empty());
    let understood = |(index, line): (usize, &'a [u8])| match serde_json::from_slice(line) {
        Ok(read) => Ok((line, read)),
        Err(e) => {
            let place = format!("{}, line {}", path.display(), index + 1);
            Err(Error::new(ErrorKind::Files, place, format!("not a line of {} ({e})", L::NAME))
                .hint("move the file away; a new one will be started"))
        }
    };
    lines.map(understood).collect()
}
