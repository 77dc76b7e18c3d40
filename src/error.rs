//! The one error type: what went wrong, where, and what to do about it.
//!
//! A message is written for the person at the terminal: `place` names the file, key, tensor or step,
//! `cause` says what is wrong in one line, `hint` says what to do.

use std::fmt;
use std::path::Path;

/// What sort of thing went wrong; tests and exit codes look at this, people read the rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The command line.
    Usage,
    /// A settings file or a value in it.
    Settings,
    /// A picture, a caption or the dataset as a whole.
    Dataset,
    /// Model, LoRA or tokenizer files.
    Weights,
    /// A tensor of a shape that an op or a kernel does not accept.
    Shape,
    /// A kernel that the device lacks, or that failed.
    Kernel,
    /// The device itself, its memory included.
    Device,
    /// Something that could not be read from or written to disk (full, read-only, locked).
    Files,
    /// Training itself: a loss that is not finite, a checkpoint that does not fit the run.
    Training,
}

/// See the module's documentation.
#[derive(Debug, Clone)]
pub struct Error {
    /// The kind, for callers that decide by it.
    pub kind: ErrorKind,
    /// File, key, tensor, step; empty when the cause says it all.
    pub place: String,
    /// One line: what is wrong.
    pub cause: String,
    /// What to do about it; may be empty.
    pub hint: String,
}

/// The result of nearly everything here.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An error of `kind` at `place`.
    pub fn new(kind: ErrorKind, place: impl Into<String>, cause: impl Into<String>) -> Self {
        Self { kind, place: place.into(), cause: cause.into(), hint: String::new() }
    }

    /// The same error with a hint.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = hint.into();
        self
    }

    /// A wrong command line.
    pub fn usage(cause: impl Into<String>) -> Self {
        Self::new(ErrorKind::Usage, "", cause)
    }

    /// A wrong value of the setting `key`.
    pub fn setting(key: &str, cause: impl Into<String>) -> Self {
        Self::new(ErrorKind::Settings, format!("setting `{key}`"), cause)
    }

    /// A picture or caption that cannot be used.
    pub fn dataset(path: &Path, cause: impl Into<String>) -> Self {
        Self::new(ErrorKind::Dataset, path.display().to_string(), cause)
    }

    /// A model file that cannot be used.
    pub fn weights(path: &Path, cause: impl Into<String>) -> Self {
        Self::new(ErrorKind::Weights, path.display().to_string(), cause)
    }

    /// A tensor in a model file that cannot be used.
    pub fn tensor(path: &Path, tensor: &str, cause: impl Into<String>) -> Self {
        Self::new(ErrorKind::Weights, format!("{}, tensor `{tensor}`", path.display()), cause)
    }

    /// Shapes that `op` does not accept.
    pub fn shape(op: &str, cause: impl Into<String>) -> Self {
        Self::new(ErrorKind::Shape, op, cause)
    }

    /// A failed read or write of `path`; says "disk full" and "read-only" in words.
    pub fn io(path: &Path, source: &std::io::Error) -> Self {
        let cause = match source.kind() {
            std::io::ErrorKind::StorageFull => "the disk is full".to_owned(),
            std::io::ErrorKind::ReadOnlyFilesystem | std::io::ErrorKind::PermissionDenied => {
                format!("not permitted ({source})")
            }
            std::io::ErrorKind::NotFound => "no such file or folder".to_owned(),
            _ => source.to_string(),
        };
        let error = Self::new(ErrorKind::Files, path.display().to_string(), cause);
        match source.kind() {
            std::io::ErrorKind::StorageFull => error.hint("free some space and start again"),
            _ => error,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.place.is_empty() {
            write!(f, "{}: ", self.place)?;
        }
        f.write_str(&self.cause)?;
        if !self.hint.is_empty() {
            write!(f, "\n  hint: {}", self.hint)?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}
