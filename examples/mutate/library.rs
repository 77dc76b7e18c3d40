//! A kernel source compiled into a library of its own, which takes the place of what the program was built with.

use crate::sources::{self, Source};
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

/// Compiles `files`, which are `source` with its includes, within `folder`; the error is what the compiler says.
///
/// Equal files make equal libraries, wherever the folder is.
pub fn compile(source: &Source, files: &Files, folder: &Path) -> Result<PathBuf, String> {
    for (path, text) in files {
        write(&folder.join(path), text)?;
    }
    write(&folder.join("entry.cpp"), &entry(source))?;
    let compiler = std::env::var("CXX").unwrap_or_else(|_| "c++".to_owned());
    let mut command = Command::new(&compiler);
    command.current_dir(folder);
    // Hidden, lest the program's own templates, which are not mutated, take the place of the library's.
    command.args(["-std=c++17", "-O1", "-w", "-shared", "-fPIC", "-fvisibility=hidden", "-o", "kernel.so"]);
    command.arg("-I").arg(sources::FOLDER);
    command.arg("-I").arg(Path::new(env!("CARGO_MANIFEST_DIR")).join(sources::FOLDER));
    let done = command.args(["-x", "c++", "entry.cpp"]).arg(&source.path).output();
    let done = done.map_err(|error| format!("{compiler}: {error}"))?;
    if done.status.success() {
        return Ok(folder.join("kernel.so"));
    }
    Err(String::from_utf8_lossy(&done.stderr).into_owned())
}

/// C++ that puts the kernels in place once the library is loaded.
fn entry(source: &Source) -> String {
    let (mut declared, mut listed) = (String::new(), String::new());
    for symbol in &source.symbols {
        let _ = writeln!(declared, "void sargent_emulated_{symbol}(const void* parameters);");
        let _ = writeln!(listed, "  {{\"{symbol}\", sargent_emulated_{symbol}}},");
    }
    format!(
        "#include \"emulator/api.h\"\n\
         extern \"C\" {{\n{declared}}}\n\
         static const sargent_emulator_entry table[] = {{\n{listed}  {{nullptr, nullptr}},\n}};\n\
         __attribute__((constructor)) static void take_over() {{ sargent_emulator_override(table); }}\n"
    )
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("{}: {error}", path.display());
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(failed)?;
    }
    std::fs::write(path, text).map_err(failed)
}
