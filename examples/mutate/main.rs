//! Deletes each call that synchronises from a kernel's source, one at a time, and sees whether the kernel's cases
//! notice.
//!
//! `cargo run --release --example mutate -- gemm_nt` prints a line for every mutant and writes what became of them to
//! `tests/mutation/gemm_nt.json`; without a name it does so for every kernel source that synchronises. A mutant is
//! killed where it does not compile, a launch reports an error, results differ from the definition on the processor or
//! from schedule to schedule, nothing comes of it at all, or a checked launch finds a race. What survives is to be explained in the file: `equivalent`
//! says that the mutant computes the same under every schedule, `explanation` why, or why no case can tell. A later run
//! keeps explanations.
#![cfg_attr(not(emulator), allow(dead_code))]
// A command for the terminal.
#![allow(clippy::print_stdout, clippy::print_stderr)]

#[cfg(emulator)]
mod library;
#[cfg(emulator)]
mod mutation;
mod results;
#[path = "../../build/sources.rs"]
#[allow(dead_code)]
mod sources;
#[cfg(emulator)]
mod trial;
#[cfg(emulator)]
#[path = "../../build/variant.rs"]
mod variant;
mod words;

use clap::Parser;

/// Why the kernels' sources cannot be read.
pub struct Failure(pub String);

/// Delete each call that synchronises from a kernel's source, and see whether its cases notice
#[derive(Debug, Parser)]
#[command(name = "mutate")]
struct Arguments {
    /// Kernel sources, such as gemm_nt; all that synchronise if none is named
    names: Vec<String>,

    /// Hold one trial, as JSON
    #[arg(long, hide = true)]
    trial: Option<String>,
}

fn main() {
    if let Err(message) = run(&Arguments::parse()) {
        eprintln!("{message}");
        std::process::exit(1);
    }
}

#[cfg(not(emulator))]
fn run(_: &Arguments) -> Result<(), String> {
    Err("this build has no emulator".to_owned())
}

#[cfg(emulator)]
fn run(arguments: &Arguments) -> Result<(), String> {
    let root = env!("CARGO_MANIFEST_DIR");
    std::env::set_current_dir(root).map_err(|error| format!("{root}: {error}"))?;
    if let Some(trial) = &arguments.trial {
        let trial: trial::Trial = serde_json::from_str(trial).map_err(|error| error.to_string())?;
        println!("{}", serde_json::to_string(&trial.judge()?).map_err(|error| error.to_string())?);
        return Ok(());
    }
    let sources = sources::scan(std::path::Path::new(sources::FOLDER)).map_err(|failure| failure.0)?;
    let named = |name: &String| arguments.names.is_empty() || arguments.names.contains(name);
    if let Some(name) = arguments.names.iter().find(|name| sources.iter().all(|source| source.name != **name))
    {
        return Err(format!("there is no kernels/{name}.cu"));
    }
    sources.iter().filter(|source| named(&source.name)).try_for_each(mutation::mutate)
}
