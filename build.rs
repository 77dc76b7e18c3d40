//! Compiles the kernels: by the C++ compiler for the emulator, by nvcc for cards.
//!
//! What comes out, all in `OUT_DIR`:
//! - `kernels.rs`: which module holds which kernel, with the modules' fatbins; `src/device/cuda/image.rs` includes it.
//! - `libsargent_emulator.a`, where the feature `emulator` is on and there is a C++ compiler: the emulator and every
//!   kernel; then `cfg(emulator)` is set.
//! - `cuda/NAME.log`: what ptxas says of each module's registers and spills; `tests/fatbins.rs` reads it.
//!
//! Outputs are kept from build to build: what has not changed, its headers included, is not compiled again.

#[path = "build/compile.rs"]
mod compile;
#[path = "build/cuda.rs"]
mod cuda;
#[cfg(feature = "emulator")]
#[path = "build/emulator.rs"]
mod emulator;
#[path = "build/nvcc.rs"]
mod nvcc;
#[path = "build/sources.rs"]
mod sources;
#[cfg(feature = "emulator")]
#[path = "build/variant.rs"]
mod variant;

use compile::Failure;
use std::path::{Path, PathBuf};

// Cargo shows what a failing build says on stderr.
#[allow(clippy::print_stderr)]
fn main() {
    if let Err(Failure(message)) = build() {
        eprintln!("{message}");
        std::process::exit(1);
    }
}

fn build() -> Result<(), Failure> {
    println!("cargo::rustc-check-cfg=cfg(emulator)");
    for watched in ["build.rs", "build", sources::FOLDER] {
        println!("cargo::rerun-if-changed={watched}");
    }
    let out = PathBuf::from(variable("OUT_DIR")?);
    let kernels = sources::scan(Path::new(sources::FOLDER))?;
    let mut jobs = Vec::new();
    let modules = cuda::Modules::plan(&kernels, &out, &mut jobs)?;
    #[cfg(feature = "emulator")]
    let emulator = emulator::Library::plan(&kernels, &out, &mut jobs)?;
    compile::run(jobs)?;
    #[cfg(feature = "emulator")]
    if let Some(library) = emulator {
        library.link();
    }
    compile::write(&out.join("kernels.rs"), &modules.table())
}

/// A variable that cargo sets.
fn variable(name: &str) -> Result<String, Failure> {
    std::env::var(name).map_err(|_| Failure(format!("cargo does not say {name}")))
}

/// Says something to whoever builds.
fn warn(text: &str) {
    println!("cargo::warning={text}");
}

/// `path` as it stands in generated code.
fn quoted(path: &Path) -> String {
    format!("{:?}", path.display().to_string())
}
