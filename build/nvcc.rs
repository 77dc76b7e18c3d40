//! Finds nvcc, and says how to get it.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The oldest nvcc that knows every architecture.
const OLDEST: (u32, u32) = (12, 8);

/// How to get what is missing.
pub const HINT: &str = "install CUDA 13, or in the project's folder `pip install --no-deps --target .cuda -r .ci/cuda.txt`; \
                        then `touch build.rs` and build again";

/// Variables that say where CUDA is installed.
const HOMES: [&str; 2] = ["CUDA_HOME", "CUDA_PATH"];

/// The CUDA compiler.
pub struct Nvcc {
    /// The program.
    pub path: PathBuf,
    /// What it says of its version.
    pub version: String,
}

/// The first nvcc that runs and is new enough.
///
/// # Errors
/// Why there is none.
pub fn find() -> Result<Nvcc, String> {
    for name in HOMES.into_iter().chain(["VIRTUAL_ENV"]) {
        println!("cargo::rerun-if-env-changed={name}");
    }
    let mut reason = "there is no nvcc".to_owned();
    for path in candidates().into_iter().filter(|path| path.is_file()) {
        match ask(&path) {
            Ok(nvcc) => {
                println!("cargo::rerun-if-changed={}", path.display());
                return Ok(nvcc);
            }
            Err(cause) => reason = format!("{}: {cause}", path.display()),
        }
    }
    // A path that leads to one later is worth another look.
    println!("cargo::rerun-if-env-changed=PATH");
    Err(reason)
}

/// Everywhere that nvcc may be, the most explicit first.
fn candidates() -> Vec<PathBuf> {
    let folder = |name: &str| std::env::var_os(name).map(PathBuf::from);
    let mut found: Vec<PathBuf> = HOMES.into_iter().filter_map(folder).map(|home| home.join("bin")).collect();
    found.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()));
    if let Some(environment) = folder("VIRTUAL_ENV") {
        let pythons = matching(&environment.join("lib"), "python3");
        found.extend(pythons.iter().flat_map(|python| wheels(&python.join("site-packages"))));
    }
    found.extend(wheels(Path::new(".cuda")));
    found.extend(matching(Path::new("/usr/local"), "cuda").iter().map(|home| home.join("bin")));
    found.iter().map(|folder| folder.join("nvcc")).collect()
}

/// The folders with programs of NVIDIA's Python wheels under `site`.
fn wheels(site: &Path) -> Vec<PathBuf> {
    matching(&site.join("nvidia"), "cu").iter().map(|package| package.join("bin")).collect()
}

/// What lies in `folder` under a name that starts with `start`, the last name first: the newest version.
fn matching(folder: &Path, start: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let starts =
        |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(start));
    let mut found: Vec<PathBuf> = entries.filter(starts).collect();
    found.sort();
    found.reverse();
    found
}

/// Asks an nvcc for its version.
fn ask(path: &Path) -> Result<Nvcc, String> {
    let answer = Command::new(path).arg("--version").output().map_err(|error| error.to_string())?;
    let version = String::from_utf8_lossy(&answer.stdout).into_owned();
    let number = release(&version).ok_or("it does not say its version")?;
    if number < OLDEST {
        let ((major, minor), (oldest, least)) = (number, OLDEST);
        return Err(format!("release {major}.{minor} is too old, {oldest}.{least} is needed"));
    }
    Ok(Nvcc { path: path.to_owned(), version })
}

/// The numbers in `..., release 13.0, V13.0.88`.
fn release(version: &str) -> Option<(u32, u32)> {
    let (major, rest) = version.split_once("release ")?.1.split_once('.')?;
    Some((major.parse().ok()?, rest.split(',').next()?.trim().parse().ok()?))
}
