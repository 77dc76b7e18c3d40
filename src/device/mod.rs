//! Where programs run: memory, limits and the choice between devices.

pub mod cpu;
pub mod cuda;

use crate::error::{Error, ErrorKind, Result};
use cuda::{Architecture, Gpu};
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

/// `24GiB`, `16GB` or plain bytes.
fn parse_size(text: &str) -> Result<u64> {
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
    "this build has no CUDA kernels".to_owned()
}

/// Resolves a choice to the device that will run, and says why.
pub fn choose(choice: Choice) -> Result<(Device, String)> {
    match choice {
        Choice::Auto => Ok((cpu::Cpu::new().into(), "cpu (this build has no CUDA kernels)".into())),
        Choice::Cpu => Ok((cpu::Cpu::new().into(), "cpu".into())),
        Choice::Cuda { .. } => {
            Err(Error::new(ErrorKind::Device, "--device cuda", "this build has no CUDA kernels")
                .hint("use --device cpu"))
        }
        #[cfg(emulator)]
        Choice::Emulator => Ok((Device::Cuda(cuda::emulated::Emulated::open()), "emulated card".into())),
        #[cfg(not(emulator))]
        Choice::Emulator => {
            Err(Error::new(ErrorKind::Device, "--device emulator", "this build has no emulator")
                .hint("use --device cpu"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_named_with_or_without_its_memory() {
        assert_eq!("cuda:24GiB".parse::<Choice>().unwrap(), Choice::Cuda { memory: Some(24 << 30) });
        assert_eq!("auto".parse::<Choice>().unwrap(), Choice::Auto);
        for wrong in ["gpu", "cuda:", "cuda:-3GiB", "cuda:lots", "cpu:1", ""] {
            assert!(wrong.parse::<Choice>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn cuda_is_refused_in_words_where_there_is_none() {
        let error = choose(Choice::Cuda { memory: None }).err().unwrap();
        assert_eq!(error.kind, ErrorKind::Device);
    }
}
