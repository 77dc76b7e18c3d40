//! The CUDA kernels that this program carries, compiled: a fatbin for each source file.

include!(concat!(env!("OUT_DIR"), "/kernels.rs"));

/// How to get CUDA kernels where there are none.
pub const HINT: &str = "build where nvcc 12.8 or newer is found (CUDA_HOME, PATH, /usr/local/cuda, a Python environment or the folder \
     .cuda with nvidia-cuda-nvcc; `.ci/run` installs it there), or use --device cpu";

/// One compiled source file.
#[derive(Debug)]
pub struct Module {
    /// The file's name, without `.cu`.
    pub name: &'static str,
    /// The kernels in it.
    pub symbols: &'static [&'static str],
    /// What it is compiled for: compute capabilities such as `80` and `90a`, and `ptx`.
    pub targets: &'static [&'static str],
    /// The driver's input; none in a build without CUDA kernels.
    pub fatbin: Option<&'static [u8]>,
}

/// Bytes at an address that suits the driver; a build without CUDA kernels has nothing to align.
#[allow(dead_code)]
#[repr(C, align(64))]
struct Aligned<T>(T);

/// Every module.
pub fn modules() -> &'static [Module] {
    MODULES
}

/// Every kernel.
pub fn symbols() -> impl Iterator<Item = &'static str> {
    MODULES.iter().flat_map(|module| module.symbols).copied()
}

/// The module that a kernel is in.
pub fn module_of(symbol: &str) -> Option<&'static Module> {
    MODULES.iter().find(|module| module.symbols.contains(&symbol))
}

/// All that modules are compiled for; nothing in a build without CUDA kernels.
pub fn targets() -> Vec<&'static str> {
    let mut found = Vec::new();
    for module in MODULES.iter().filter(|module| module.fatbin.is_some()) {
        found.extend(module.targets.iter().filter(|target| !found.contains(*target)).collect::<Vec<_>>());
    }
    found
}

/// Why this program has no CUDA kernels, in words; none if it has.
pub fn absence() -> Option<String> {
    if MODULES.iter().any(|module| module.fatbin.is_some()) {
        return None;
    }
    let reason = if ABSENT.is_empty() { "no kernel is compiled for the wanted cards" } else { ABSENT };
    Some(format!("this build has no CUDA kernels: {reason}"))
}
