//! The CUDA kernels that this program carries, compiled: a fatbin for each source file.

use crate::error::{Error, ErrorKind, Result};

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

impl Module {
    /// Whether a card of a compute capability (ten times major plus minor) can run it. Machine code runs on its own
    /// capability and on later ones with the same major number, `90a` on 9.0 alone; PTX runs on all that are newer.
    pub fn serves(&self, compute: u32) -> bool {
        self.targets.iter().any(|target| match (target.strip_suffix('a'), target.parse::<u32>()) {
            (Some(exact), _) => exact.parse() == Ok(compute),
            (None, Ok(oldest)) => oldest / 10 == compute / 10 && oldest <= compute,
            (None, Err(_)) => true,
        })
    }
}

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

/// The name and the fatbin of the module that a kernel is in.
///
/// # Errors
/// There is no such kernel, or none for cards of this compute capability.
pub fn fatbin_for(symbol: &'static str, compute: u32) -> Result<(&'static str, &'static [u8])> {
    let error = |cause: String| Error::new(ErrorKind::Kernel, symbol, cause).hint(HINT);
    let module = module_of(symbol).ok_or_else(|| error("there is no such CUDA kernel".to_owned()))?;
    let (major, minor) = (compute / 10, compute % 10);
    match module.fatbin {
        Some(fatbin) if module.serves(compute) => Ok((module.name, fatbin)),
        _ => {
            let has =
                if module.targets.is_empty() { "nothing".to_owned() } else { module.targets.join(", ") };
            Err(error(format!(
                "it is not compiled for compute capability {major}.{minor}, this build has {has}"
            )))
        }
    }
}

/// All that modules are compiled for; nothing in a build without CUDA kernels.
pub fn targets() -> Vec<&'static str> {
    let mut found = Vec::new();
    for target in compiled().flat_map(|module| module.targets) {
        if !found.contains(target) {
            found.push(*target);
        }
    }
    found
}

/// How many kernels there are for each target, in words: `31 kernels for sm_80, sm_86, PTX; 35 for sm_90a`.
pub fn summary() -> String {
    let mut counts: Vec<(usize, Vec<String>)> = Vec::new();
    for target in targets() {
        let modules = compiled().filter(|module| module.targets.contains(&target));
        let kernels = modules.map(|module| module.symbols.len()).sum();
        let name = if target == "ptx" { "PTX".to_owned() } else { format!("sm_{target}") };
        match counts.iter_mut().find(|(count, _)| *count == kernels) {
            Some((_, names)) => names.push(name),
            None => counts.push((kernels, vec![name])),
        }
    }
    let words = |(index, (count, names)): (usize, &(usize, Vec<String>))| {
        format!("{count}{} for {}", if index == 0 { " CUDA kernels" } else { "" }, names.join(", "))
    };
    counts.iter().enumerate().map(words).collect::<Vec<_>>().join("; ")
}

/// Why this program has no CUDA kernels, in words; none if it has.
pub fn absence() -> Option<String> {
    if compiled().next().is_some() {
        return None;
    }
    let reason = if ABSENT.is_empty() { "none is compiled for the wanted cards" } else { ABSENT };
    Some(format!("this build has no CUDA kernels: {reason}"))
}

fn compiled() -> impl Iterator<Item = &'static Module> {
    MODULES.iter().filter(|module| module.fatbin.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn module(targets: &'static [&'static str]) -> Module {
        Module { name: "x", symbols: &["x"], targets, fatbin: None }
    }

    #[test]
    fn machine_code_runs_within_its_major_number_and_ptx_everywhere_later() {
        let ampere = module(&["80", "86"]);
        let served: Vec<u32> =
            [80, 86, 87, 89, 90, 100, 120].into_iter().filter(|&c| ampere.serves(c)).collect();
        assert_eq!(served, [80, 86, 87, 89]);
        assert!(!module(&["86"]).serves(80));
        assert!(module(&["90a"]).serves(90) && !module(&["90a"]).serves(100));
        assert!(module(&["120"]).serves(121) && !module(&["120"]).serves(90));
        assert!(module(&["80", "ptx"]).serves(100) && !module(&[]).serves(80));
    }

    #[test]
    fn a_kernel_that_does_not_exist_is_named() {
        let error = fatbin_for("no_such_kernel", 80).unwrap_err();
        assert_eq!((error.kind, error.place.as_str()), (ErrorKind::Kernel, "no_such_kernel"));
    }
}
