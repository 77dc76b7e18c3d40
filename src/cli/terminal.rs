//! What is written to the terminal.
//!
//! Someone who no longer listens (`sargent plan config.json | head`) is no error.

use super::failure::Failure;
use crate::error::Error;
use std::fmt::Display;
use std::io::{ErrorKind, IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;

/// Prints a result.
///
/// # Errors
/// An stdout that cannot be written, unless it was closed.
pub fn say(text: impl Display) -> Result<(), Failure> {
    let mut stdout = std::io::stdout().lock();
    match writeln!(stdout, "{text}").and_then(|()| stdout.flush()) {
        Err(e) if e.kind() != ErrorKind::BrokenPipe => {
            Err(Failure::while_running(Error::io(Path::new("stdout"), &e)))
        }
        _ => Ok(()),
    }
}

/// Prints what is good to know meanwhile.
pub fn note(text: impl Display) {
    // There is nobody left to tell that stderr is closed.
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Prints why the program ends.
pub fn error(error: &Error) {
    note(format_args!("sargent: error: {error}"));
}

/// Says which settings have no effect, and why.
pub fn ignored_settings<'a>(ignored: impl IntoIterator<Item = &'a (String, String)>) {
    for (key, why) in ignored {
        note(format_args!("ignored: setting `{key}`: {why}"));
    }
}

/// Prints the parser's answer to a command line that runs no command: help, the version, or what is wrong.
pub fn answer(answer: &clap::Error) -> ExitCode {
    let is_mistake = answer.use_stderr() && !answer.to_string().starts_with(char::is_uppercase);
    let text = answer.render();
    if is_mistake && std::io::stderr().is_terminal() {
        let _ = write!(std::io::stderr(), "sargent: {}", text.ansi());
    } else if is_mistake {
        let _ = write!(std::io::stderr(), "sargent: {text}");
    } else {
        let _ = answer.print();
    }
    ExitCode::from(u8::try_from(answer.exit_code()).unwrap_or(2))
}
