//! What nvcc made of the kernels that carry a training step: no register is spilled, and products run on tensor cores.
//!
//! A build without CUDA kernels has nothing to look at; `SARGENT_EXPECT_FATBINS`, which `.ci/run` sets, makes that a
//! failure.

#![allow(clippy::unwrap_used)]

use sargent::device::cuda::image::{self, Module};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

/// What the hot modules' names start with.
const HOT: [&str; 3] = ["gemm", "attention", "conv2d"];

/// Spills that are accepted: lines `KERNEL TARGET REASON`.
const ACCEPTED: &str = "kernels/spills.txt";

/// Kernels of hot modules that multiply no matrices.
const WITHOUT_PRODUCTS: [&str; 6] = [
    "attention_clear_columns",
    "attention_exact_64",
    "attention_exact_512",
    "attention_statistics",
    "gemm_reduce",
    "gemm_scale_columns",
];

/// The tensor cores' instructions: of warps, and of Hopper's warpgroups.
const PRODUCTS: [&str; 2] = ["HMMA.", "HGMMA."];

/// A kernel on an architecture such as `sm_80`.
type Compiled = (String, String);

/// The compiled modules with hot kernels.
fn hot() -> Vec<&'static Module> {
    let starts = |module: &&Module| HOT.iter().any(|start| module.name.starts_with(start));
    image::modules().iter().filter(starts).filter(|module| module.fatbin.is_some()).collect()
}

/// What the build keeps for a module.
fn kept(module: &Module, ending: &str) -> PathBuf {
    Path::new(env!("OUT_DIR")).join("cuda").join(module.name).with_extension(ending)
}

/// Bytes that each kernel spills, from what ptxas says.
fn spills(log: &str) -> BTreeMap<Compiled, usize> {
    let quoted = |line: &str, at: usize| line.split('\'').nth(at).unwrap_or_default().to_owned();
    let (mut found, mut kernel) = (BTreeMap::new(), Compiled::default());
    for line in log.lines() {
        if line.contains("Compiling entry function") {
            kernel = (quoted(line, 1), quoted(line, 3));
            found.insert(kernel.clone(), 0);
        } else if line.contains("bytes spill stores") {
            // Functions that are called, not inlined, are reported after the kernel that calls them.
            let numbers = line.split(',').filter(|part| part.contains("spill"));
            let bytes = numbers.map(|part| part.split_whitespace().next().unwrap().parse::<usize>().unwrap());
            *found.entry(kernel.clone()).or_default() += bytes.sum::<usize>();
        }
    }
    found
}

/// The spills that are accepted.
fn accepted() -> BTreeSet<Compiled> {
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(ACCEPTED)).unwrap();
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let entry = |line: &str| {
        let words: Vec<&str> = line.splitn(3, char::is_whitespace).collect();
        assert_eq!(words.len(), 3, "{ACCEPTED}: `{line}` is not KERNEL TARGET REASON");
        (words[0].to_owned(), words[1].to_owned())
    };
    lines.map(entry).collect()
}

/// The kernels and architectures in a disassembly that have none of the tensor cores' instructions.
fn without_products(disassembly: &str) -> BTreeSet<Compiled> {
    let (mut found, mut target, mut kernel) = (BTreeSet::new(), String::new(), String::new());
    for line in disassembly.lines() {
        if let Some(name) = line.trim().strip_prefix("arch = ") {
            target = name.to_owned();
        } else if let Some(name) = line.trim().strip_prefix("Function : ") {
            kernel = name.to_owned();
            found.insert((kernel.clone(), target.clone()));
        } else if PRODUCTS.iter().any(|instruction| line.contains(instruction)) {
            found.remove(&(kernel.clone(), target.clone()));
        }
    }
    found
}

/// The tool that disassembles, beside the nvcc of the build.
fn cuobjdump() -> Option<PathBuf> {
    let tool = Path::new(option_env!("SARGENT_NVCC")?).with_file_name("cuobjdump");
    tool.is_file().then_some(tool)
}

#[test]
fn fatbins_are_there_where_they_are_expected() {
    if std::env::var_os("SARGENT_EXPECT_FATBINS").is_some() {
        assert_eq!(image::absence(), None);
        let compiled: BTreeSet<&str> = image::targets().into_iter().collect();
        assert_eq!(compiled, BTreeSet::from(["80", "86", "89", "90a", "120", "ptx"]));
        assert!(cuobjdump().is_some(), "there is no cuobjdump beside nvcc");
    }
}

#[test]
fn hot_kernels_spill_no_registers() {
    let mut accepted = accepted();
    let mut failures = Vec::new();
    for module in hot() {
        let found = spills(&std::fs::read_to_string(kept(module, "log")).unwrap());
        assert!(!found.is_empty(), "ptxas says nothing of {}", module.name);
        for ((kernel, target), bytes) in found.into_iter().filter(|(_, bytes)| *bytes > 0) {
            if !accepted.remove(&(kernel.clone(), target.clone())) {
                failures.push(format!("{kernel} on {target} spills {bytes} bytes"));
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    let all = image::targets().len() > 5;
    assert!(!all || accepted.is_empty(), "{ACCEPTED} lists what does not spill: {accepted:?}");
}

#[test]
fn hot_kernels_multiply_on_tensor_cores() {
    let Some(cuobjdump) = cuobjdump() else { return };
    for module in hot() {
        let answer = Command::new(&cuobjdump).arg("-sass").arg(kept(module, "fatbin")).output().unwrap();
        let text = String::from_utf8_lossy(&answer.stdout);
        assert!(answer.status.success() && text.contains("Function : "), "{}: {answer:?}", module.name);
        let mut found = without_products(&text);
        found.retain(|(kernel, _)| !WITHOUT_PRODUCTS.contains(&kernel.as_str()));
        assert!(found.is_empty(), "no tensor cores in {found:?}");
    }
}

#[test]
fn what_ptxas_says_is_understood() {
    let log = "\
ptxas info    : 0 bytes gmem
ptxas info    : Compiling entry function 'one' for 'sm_80'
ptxas info    : Function properties for one
    16 bytes stack frame, 12 bytes spill stores, 20 bytes spill loads
ptxas info    : Used 255 registers, used 1 barriers, 528 bytes cmem[0]
ptxas info    : Compiling entry function 'two' for 'sm_90a'
ptxas info    : Function properties for two
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
";
    let kernel = |name: &str, target: &str| (name.to_owned(), target.to_owned());
    assert_eq!(spills(log), BTreeMap::from([(kernel("one", "sm_80"), 32), (kernel("two", "sm_90a"), 0)]));
}

#[test]
fn a_disassembly_is_understood() {
    let text = "\
arch = sm_80
		Function : one
        /*6fc0*/                   HMMA.16816.F32.BF16 R96, R12.reuse, R170, R96 ;
		Function : two
        /*6fc0*/                   FADD R1, R2, R3 ;
arch = sm_90a
		Function : one
";
    let kernel = |name: &str, target: &str| (name.to_owned(), target.to_owned());
    assert_eq!(without_products(text), BTreeSet::from([kernel("two", "sm_80"), kernel("one", "sm_90a")]));
}
