//! A fatbin for every `.cu` file, and the table of them.

use crate::compile::{Failure, Job};
use crate::nvcc::{self, Nvcc};
use crate::sources::{self, Source};
use crate::{quoted, warn};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What a fatbin may hold: machine code by architecture, and PTX, which the driver compiles for cards that are newer
/// than all of these.
const TARGETS: [&str; 6] = ["80", "86", "89", "90a", "120", PTX];

/// PTX of the oldest architecture.
const PTX: &str = "ptx";

/// The ending of a file's name that ties it to Hopper, and the architecture that has all of Hopper's instructions.
const HOPPER: (&str, &str) = ("_sm90", "90a");

/// The variable that narrows the targets: a list such as `80,90a,ptx`, or `none`.
const NARROW: &str = "SARGENT_CUDA_ARCHS";

/// All modules of this build.
pub struct Modules<'a> {
    modules: Vec<Module<'a>>,
    /// Why there are no fatbins; empty if there are.
    absent: String,
}

struct Module<'a> {
    source: &'a Source,
    targets: Vec<&'static str>,
    fatbin: Option<PathBuf>,
}

impl<'a> Modules<'a> {
    /// Adds the compilations of all fatbins to `jobs`; none without nvcc.
    pub fn plan(kernels: &'a [Source], out: &Path, jobs: &mut Vec<Job>) -> Result<Self, Failure> {
        let wanted = wanted()?;
        let mut modules: Vec<Module<'_>> =
            kernels.iter().map(|source| Module::new(source, &wanted)).collect();
        if wanted.is_empty() {
            return Ok(Self { modules, absent: format!("{NARROW} was `none`") });
        }
        let nvcc = match nvcc::find() {
            Ok(nvcc) => nvcc,
            Err(reason) => {
                warn(&format!("no CUDA kernels in this build: {reason}. To have them, {}", nvcc::HINT));
                return Ok(Self { modules, absent: format!("when built: {reason}") });
            }
        };
        // tests/fatbins.rs takes the disassembler from beside it.
        println!("cargo::rustc-env=SARGENT_NVCC={}", nvcc.path.display());
        let out = out.join("cuda");
        std::fs::create_dir_all(&out).map_err(|error| Failure(format!("{}: {error}", out.display())))?;
        for module in modules.iter_mut().filter(|module| !module.targets.is_empty()) {
            let output = out.join(&module.source.name).with_extension("fatbin");
            module.fatbin = Some(output.clone());
            jobs.push(Job { source: module.source.path.clone(), command: module.command(&nvcc), output });
        }
        Ok(Self { modules, absent: String::new() })
    }

    /// Rust that lists the modules; it names what `src/device/cuda/image.rs` has in scope.
    pub fn table(&self) -> String {
        let mut table = format!("static ABSENT: &str = {:?};\n", self.absent);
        if self.modules.iter().any(|module| module.fatbin.is_some()) {
            table.push_str("/// Bytes at an address that suits the driver.\n");
            table.push_str("#[repr(C, align(64))]\nstruct Aligned<T>(T);\n");
        }
        table.push_str("static MODULES: &[Module] = &[\n");
        for Module { source, targets, fatbin } in &self.modules {
            let fatbin = fatbin.as_ref().map_or("None".to_owned(), |path| {
                format!("Some(&Aligned(*include_bytes!({})).0)", quoted(path))
            });
            let (name, symbols) = (&source.name, &source.symbols);
            let _ = writeln!(
                table,
                "    Module {{ name: {name:?}, symbols: &{symbols:?}, targets: &{targets:?}, fatbin: {fatbin} }},"
            );
        }
        table.push_str("];\n");
        table
    }
}

impl<'a> Module<'a> {
    fn new(source: &'a Source, wanted: &[&'static str]) -> Self {
        let (ending, hopper) = HOPPER;
        let fits = |target: &&str| !source.name.ends_with(ending) || *target == hopper;
        Self { source, targets: wanted.iter().copied().filter(fits).collect(), fatbin: None }
    }

    fn command(&self, nvcc: &Nvcc) -> Command {
        let mut command = Command::new(&nvcc.path);
        // Not read by nvcc: part of the job's digest, so that another nvcc compiles again.
        command.env("SARGENT_NVCC_VERSION", &nvcc.version);
        command.args(["-fatbin", "-O3", "-std=c++17", "-lineinfo", "--compress-mode=size"]);
        command.args(["-Xptxas", "-v", "-I", sources::FOLDER]);
        for target in &self.targets {
            let code = match *target {
                PTX => "arch=compute_80,code=compute_80".to_owned(),
                target => format!("arch=compute_{target},code=sm_{target}"),
            };
            command.args(["-gencode", &code]);
        }
        command
    }
}

/// The targets to compile for.
fn wanted() -> Result<Vec<&'static str>, Failure> {
    println!("cargo::rerun-if-env-changed={NARROW}");
    let Ok(list) = std::env::var(NARROW) else { return Ok(TARGETS.to_vec()) };
    let words: Vec<&str> = list.split(',').map(str::trim).filter(|word| !word.is_empty()).collect();
    if words == ["none"] {
        return Ok(Vec::new());
    }
    if let Some(word) = words.iter().find(|word| !TARGETS.contains(word)) {
        let all = TARGETS.join(", ");
        return Err(Failure(format!("{NARROW}: there is no `{word}`; choose from {all}, or say none")));
    }
    let named = |target: &&str| words.is_empty() || words.contains(target);
    Ok(TARGETS.into_iter().filter(named).collect())
}
