//! The kernels' sources: which there are, which kernels they define, which files they include.

use crate::Failure;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Where kernels lie; includes are relative to it.
pub const FOLDER: &str = "kernels";

/// What a definition of a kernel starts with, at the start of a line; the symbol follows.
const DEFINITIONS: [&str; 2] = ["KERNEL(", "KERNEL_BOUNDED("];

/// One `.cu` file.
#[derive(Debug)]
pub struct Source {
    /// The file.
    pub path: PathBuf,
    /// The file's name without its ending: the module's name.
    pub name: String,
    /// The kernels that it defines.
    pub symbols: Vec<String>,
}

/// All `.cu` files of `folder`, by name.
pub fn scan(folder: &Path) -> Result<Vec<Source>, Failure> {
    let mut owners: BTreeMap<String, String> = BTreeMap::new();
    let mut found = Vec::new();
    for path in files(folder, "cu")? {
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let symbols = symbols(&read(&path)?);
        if symbols.is_empty() {
            return Err(Failure(format!("{}: no line starts with KERNEL(symbol, ...)", path.display())));
        }
        for symbol in &symbols {
            if let Some(other) = owners.insert(symbol.clone(), name.clone()) {
                let path = path.display();
                return Err(Failure(format!("{path}: {symbol} is defined in {other}.cu too")));
            }
        }
        found.push(Source { path, name, symbols });
    }
    Ok(found)
}

/// The kernels that a source text defines.
fn symbols(text: &str) -> Vec<String> {
    let defined = |line: &str| {
        let arguments = DEFINITIONS.iter().find_map(|start| line.strip_prefix(start))?;
        Some(arguments.split(',').next()?.trim().to_owned())
    };
    text.lines().filter_map(defined).collect()
}

/// The files in `folder` that end in `ending`, by name; none if there is no such folder.
pub fn files(folder: &Path, ending: &str) -> Result<Vec<PathBuf>, Failure> {
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let failed = |error: std::io::Error| Failure(format!("{}: {error}", folder.display()));
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_some_and(|found| found == ending) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// The text of a file.
pub fn read(path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path).map_err(|error| Failure(format!("{}: {error}", path.display())))
}

/// `path` and every file that it includes by a name in quotes, directly or not, with their texts.
pub fn with_includes(path: &Path) -> Result<BTreeMap<PathBuf, String>, Failure> {
    let mut found = BTreeMap::new();
    let mut waiting = vec![path.to_owned()];
    while let Some(path) = waiting.pop() {
        if found.contains_key(&path) {
            continue;
        }
        let text = read(&path)?;
        let beside = path.parent().unwrap_or(Path::new(""));
        for name in included(&text) {
            let candidates = [beside.join(name), Path::new(FOLDER).join(name)];
            waiting.extend(candidates.into_iter().find(|candidate| candidate.is_file()));
        }
        found.insert(path, text);
    }
    Ok(found)
}

/// The names in quotes after `#include`.
fn included(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter_map(|line| {
        let directive = line.trim_start().strip_prefix('#')?.trim_start();
        directive.strip_prefix("include")?.trim_start().strip_prefix('"')?.split('"').next()
    })
}
