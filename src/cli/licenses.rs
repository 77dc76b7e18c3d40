//! `sargent licenses`: the notices of what is part of the program.

use super::failure::Failure;
use super::terminal;

/// Print the licences of what is part of the program
#[derive(Debug, clap::Args)]
pub struct LicensesArgs {}

/// Prints.
pub fn run(_args: &LicensesArgs) -> Result<(), Failure> {
    terminal::say(format_args!(
        "sargent {}: MIT or Apache-2.0, at your option.\n\n\
         This software is based in part on the work of the Independent JPEG Group (jpeg-encoder).\n\n\
         The face detector's model (SeetaFace, from the rustface crate) is part of the program under this \
         licence:\n\n{}",
        env!("CARGO_PKG_VERSION"),
        FACE_MODEL.trim_end()
    ))
}

const FACE_MODEL: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/assets/face/LICENSE"));
