//! Where programs run: memory, limits and the choice between devices.

pub mod cpu;
pub mod cuda;

#[cfg(not(emulator))]
use crate::error::ErrorKind;
use crate::error::{Error, Result};
use cuda::driver::Driver;
use cuda::{Architecture, Gpu, image};
use std::str::FromStr;
use std::sync::Arc;

/// What a plan needs to know of a device; plans are made on machines without it too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Kernels of the processor that need scratch memory split it into this many parts, one for each that works at
    /// a time.
    pub lanes: usize,
    /// Bytes that a run may use.
    pub memory: u64,
    /// The card; none for the processor.
    pub cuda: Option<Architecture>,
}

/// What weights, activations and their gradients are kept in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precision {
    /// f32 throughout.
    F32,
    /// bf16, but for what kernels name as exact; sums are f32.
    Bf16,
}

impl Limits {
    /// The precision that this device computes in.
    pub fn precision(&self) -> Precision {
        if self.cuda.is_some() { Precision::Bf16 } else { Precision::F32 }
    }
}

/// A device that is open.
#[derive(Debug, Clone)]
pub enum Device {
    /// The processor.
    Cpu(cpu::Cpu),
    /// A card or its emulator.
    Cuda(Arc<dyn Gpu>),
}

impl Device {
    /// What it is called: the card's name, or the processor with its threads.
    pub fn name(&self) -> String {
        match self {
            Self::Cpu(cpu) => format!("cpu, {} threads", cpu.limits().lanes),
            Self::Cuda(gpu) => gpu.properties().name.clone(),
        }
    }

    /// What plans for it are made with.
    pub fn limits(&self) -> Result<Limits> {
        match self {
            Self::Cpu(cpu) => Ok(cpu.limits()),
            Self::Cuda(gpu) => {
                let cuda = Some(gpu.properties().architecture);
                Ok(Limits { lanes: 1, memory: gpu.free_memory()?, cuda })
            }
        }
    }
}

impl From<cpu::Cpu> for Device {
    fn from(cpu: cpu::Cpu) -> Self {
        Self::Cpu(cpu)
    }
}

/// What the user asked for with `--device`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// The best device that this machine and this build have.
    Auto,
    /// The processor.
    Cpu,
    /// An NVIDIA GPU; `plan` may give its memory in bytes.
    Cuda {
        /// Memory to plan for, in bytes.
        memory: Option<u64>,
    },
    /// The CUDA kernels on the processor: slow, for proving them on machines without a card.
    Emulator,
}

impl FromStr for Choice {
    type Err = Error;

    /// `auto`, `cpu`, `cuda`, `cuda:24GiB` or `emulator`.
    fn from_str(text: &str) -> Result<Self> {
        match text.split_once(':') {
            None if text == "auto" => Ok(Self::Auto),
            None if text == "cpu" => Ok(Self::Cpu),
            None if text == "cuda" => Ok(Self::Cuda { memory: None }),
            None if text == "emulator" => Ok(Self::Emulator),
            Some(("cuda", size)) => Ok(Self::Cuda { memory: Some(parse_size(size)?) }),
            _ => Err(Error::usage(format!("there is no device `{text}`"))
                .hint("use auto, cpu, cuda, emulator, or cuda:24GiB to plan for a card of that size")),
        }
    }
}

/// Bytes of a memory size: `24GiB`, `16GB` or plain bytes.
///
/// # Errors
/// Anything else.
pub fn parse_size(text: &str) -> Result<u64> {
    const UNITS: [(&str, f64); 5] =
        [("GiB", 1073741824.0), ("MiB", 1048576.0), ("GB", 1e9), ("MB", 1e6), ("", 1.0)];
    UNITS
        .iter()
        .find_map(|(unit, bytes)| text.strip_suffix(unit)?.trim().parse::<f64>().ok().map(|n| n * bytes))
        .filter(|bytes| bytes.is_finite() && *bytes > 0.0)
        .map(|bytes| bytes as u64)
        .ok_or_else(|| Error::usage(format!("`{text}` is not a memory size")).hint("write it like 24GiB"))
}

/// Which CUDA kernels this program carries, in words.
pub fn kernels_on_board() -> String {
    let kernels = image::absence().unwrap_or_else(image::summary);
    let emulator = if cfg!(emulator) { "with the emulator" } else { "without the emulator" };
    format!("{kernels}; {emulator}")
}

/// Resolves a choice to the device that will run, and says why.
pub fn choose(choice: Choice) -> Result<(Device, String)> {
    let cpu = || cpu::Cpu::new().into();
    let named = |gpu: Arc<dyn Gpu>| {
        let name = gpu.properties().name.clone();
        (Device::Cuda(gpu), name)
    };
    match choice {
        Choice::Auto => {
            Ok(Driver::open().map(named).unwrap_or_else(|error| (cpu(), format!("cpu ({})", error.cause))))
        }
        Choice::Cpu => Ok((cpu(), "cpu".into())),
        Choice::Cuda { .. } => Driver::open().map(named),
        Choice::Emulator => emulator().map(named),
    }
}

#[cfg(emulator)]
fn emulator() -> Result<Arc<dyn Gpu>> {
    Ok(cuda::emulated::Emulated::open())
}

#[cfg(not(emulator))]
fn emulator() -> Result<Arc<dyn Gpu>> {
    Err(Error::new(ErrorKind::Device, "--device emulator", "this build has no emulator")
        .hint("build with the feature `emulator`, which needs a C++ compiler, or use --device cpu"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn a_device_is_named_with_or_without_its_memory() {
        assert_eq!("cuda:24GiB".parse::<Choice>().unwrap(), Choice::Cuda { memory: Some(24 << 30) });
        assert_eq!("auto".parse::<Choice>().unwrap(), Choice::Auto);
        for wrong in ["gpu", "cuda:", "cuda:-3GiB", "cuda:lots", "cpu:1", ""] {
            assert!(wrong.parse::<Choice>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_card_is_opened_or_refused_in_one_line_with_a_hint() {
        let (auto, description) = choose(Choice::Auto).unwrap();
        match choose(Choice::Cuda { memory: None }) {
            Ok(_) => assert!(matches!(auto, Device::Cuda(_))),
            Err(error) => {
                assert_eq!(error.kind, ErrorKind::Device);
                assert!(!error.hint.is_empty() && !error.cause.contains('\n'));
                assert!(matches!(auto, Device::Cpu(_)));
                assert_eq!(description, format!("cpu ({})", error.cause));
            }
        }
    }

    #[test]
    fn the_kernels_on_board_are_told() {
        let told = kernels_on_board();
        assert!(told.contains("CUDA kernels") && told.ends_with("the emulator"), "{told}");
    }
}
