//! What a command fails with: the error, and the exit code that says when it happened.

use crate::error::Error;

/// A mistake found before the first step: usage, settings, files.
const BEFORE: u8 = 2;
/// Something that happened while running: a full disk, a lost device, a loss that is not finite.
const WHILE_RUNNING: u8 = 1;

/// See the module's documentation.
#[derive(Debug)]
pub struct Failure {
    /// What went wrong.
    pub error: Error,
    /// The exit code.
    pub code: u8,
}

impl Failure {
    /// A failure after the first step began.
    pub fn while_running(error: Error) -> Self {
        Self { error, code: WHILE_RUNNING }
    }
}

/// An error is one found before the first step, unless said otherwise.
impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self { error, code: BEFORE }
    }
}
