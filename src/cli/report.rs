//! `sargent report`: a run's page, written again from its files.

use super::failure::Failure;
use super::terminal;
use crate::run::report;
use std::path::PathBuf;

/// Write report.html of a run again
///
/// A run writes it by itself and keeps it fresh; this does so from the files of its output folder.
#[derive(Debug, clap::Args)]
pub struct ReportArgs {
    /// The output folder of a run
    pub output: PathBuf,
}

/// Writes it and says where.
pub fn run(args: &ReportArgs) -> Result<(), Failure> {
    report::rewrite(&args.output)?;
    terminal::say(args.output.join("report.html").display())
}
