//! A kernel source compiled into a library of its own, which takes the place of what the program was built with.

use crate::sources::{self, Source};
use crate::variant::{CHECKED, Variant};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The files of a kernel by their paths, with their texts.
pub type Files = BTreeMap<PathBuf, String>;

/// `source` and all that it includes.
pub fn files(source: &Source) -> Result<Files, String> {
    sources::with_includes(&source.path).map_err(|failure| failure.0)
}

/// Compiles a variant of `files`, which are `source` with its includes, within `folder`; the error is what the compiler
/// says.
///
/// Equal files make equal libraries, whatever the folder is.
pub fn compile(source: &Source, files: &Files, variant: &Variant, folder: &Path) -> Result<PathBuf, String> {
    for (path, text) in files {
        write(&folder.join(path), text)?;
    }
    write(&folder.join("entry.cpp"), &entry(source, variant))?;
    let interface = Path::new(env!("CARGO_MANIFEST_DIR")).join(sources::FOLDER);
    let mut objects = compiler(folder);
    // Hidden, lest the program's own templates, which are not mutated, take the place of the library's.
    objects.args(["-std=c++17", "-O1", "-w", "-fPIC", "-fvisibility=hidden"]).args(variant.arguments);
    objects.arg("-I").arg(sources::FOLDER).arg("-I").arg(interface);
    run(objects.args(["-c", "-x", "c++", "entry.cpp"]).arg(&source.path))?;
    // The emulator, and what the checked variant's instrumentation calls, are found in the program.
    run(compiler(folder).args(["-shared", "-o", "kernel.so", "entry.o"]).arg(format!("{}.o", source.name)))?;
    Ok(folder.join("kernel.so"))
}

/// C++ that puts the kernels in place once the library is loaded.
fn entry(source: &Source, variant: &Variant) -> String {
    let prefix = variant.prefix;
    let (mut declared, mut listed) = (String::new(), String::new());
    for symbol in &source.symbols {
        let _ = writeln!(declared, "void {prefix}{symbol}(const void* parameters);");
        let _ = if prefix == CHECKED.prefix {
            writeln!(listed, "  {{\"{symbol}\", nullptr, {prefix}{symbol}}},")
        } else {
            writeln!(listed, "  {{\"{symbol}\", {prefix}{symbol}, nullptr}},")
        };
    }
    format!(
        "#include \"emulator/api.h\"\n\
         extern \"C\" {{\n{declared}}}\n\
         static const sargent_emulator_entry table[] = {{\n{listed}  {{nullptr, nullptr, nullptr}},\n}};\n\
         __attribute__((constructor)) static void take_over() {{ sargent_emulator_override(table); }}\n"
    )
}

/// The C++ compiler, at work in `folder`.
fn compiler(folder: &Path) -> Command {
    let mut command = Command::new(std::env::var("CXX").unwrap_or_else(|_| "c++".to_owned()));
    command.current_dir(folder);
    command
}

fn run(command: &mut Command) -> Result<(), String> {
    let done = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    if done.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&done.stderr).into_owned()) }
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("{}: {error}", path.display());
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(failed)?;
    }
    std::fs::write(path, text).map_err(failed)
}
