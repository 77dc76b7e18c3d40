//! What is written to the terminal.
//!
//! Someone who no longer listens (`sargent plan config.json | head`) is no error.

use super::failure::Failure;
use crate::error::Error;
use crate::settings::{Remark, Severity};
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
    let mut by_reason: Vec<(&str, Vec<&str>)> = Vec::new();
    for (key, why) in ignored {
        match by_reason.iter_mut().find(|(reason, _)| reason == why) {
            Some((_, keys)) if keys.contains(&key.as_str()) => {}
            Some((_, keys)) => keys.push(key),
            None => by_reason.push((why, vec![key])),
        }
    }
    for (why, keys) in by_reason {
        let (plural, names) = (if keys.len() > 1 { "s" } else { "" }, keys.join("`, `"));
        note(format_args!("ignored: setting{plural} `{names}`: {why}"));
    }
}

/// Remarks on settings, each as a paragraph that fits a terminal.
pub fn remarks(remarks: &[Remark]) -> String {
    let paragraph = |remark: &Remark| {
        let mark = if remark.severity == Severity::Warning { "!" } else { "-" };
        wrapped(&format!("{}: {}", remark.about, remark.text), mark)
    };
    remarks.iter().map(paragraph).collect::<Vec<_>>().join("\n")
}

/// `text` in lines of at most 80 columns behind `mark`.
fn wrapped(text: &str, mark: &str) -> String {
    const COLUMNS: usize = 76;
    let (mut lines, mut line) = (Vec::new(), String::new());
    for word in text.split_whitespace() {
        if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > COLUMNS {
            lines.push(std::mem::take(&mut line));
        }
        let gap = if line.is_empty() { "" } else { " " };
        line.push_str(gap);
        line.push_str(word);
    }
    lines.push(line);
    format!("{mark} {}", lines.join("\n  "))
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
