//! How fast kernels are, beside what the device can do at most.

use crate::autograd::program::Work;
use crate::autograd::run::Planned;
use crate::device::Device;
use crate::doctor::case::{Case, Recorder};
use crate::doctor::check::Ready;
use crate::error::Result;
use crate::kernels::Shapes;
use crate::kernels::linear::{Base, Epilogue, Linear};
use serde::Serialize;

/// Runs of one measurement take about this long.
const SECONDS: f64 = 0.2;
/// Runs that are measured at most.
const MOST_RUNS: u32 = 200;

/// Rows, columns and depth of the product that stands for the device's arithmetic.
const LARGE_PRODUCT: usize = 8192;
/// Elements of the copy that stands for the device's memory: 1 GiB in bf16.
const LARGE_COPY: usize = 1 << 29;

/// Arithmetic and traffic of a program by the second.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Rate {
    /// Seconds of one run.
    pub seconds: f64,
    /// Floating-point operations of matrix products by the second, in units of 10^12.
    pub teraflops: f64,
    /// Bytes read and written at least once by the second, in units of 10^9.
    pub gigabytes: f64,
}

/// What the device reaches at most, by measurements of its own.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Ceilings {
    /// A large product by this program's own kernel.
    pub product: Rate,
    /// Large sums a + b: two thirds of the traffic are reads.
    pub stream: Rate,
}

impl Rate {
    /// Measures `case` on `device`.
    pub fn of(case: &Case, device: &Device) -> Result<Self> {
        let Ready { mut engine, planned, .. } = Ready::new(case, device)?;
        let once = engine.time(&planned, 1)?;
        let runs = ((SECONDS / once.max(1e-9)) as u32).clamp(1, MOST_RUNS);
        let seconds = engine.time(&planned, runs)? / f64::from(runs);
        Ok(Self::new(seconds, &planned))
    }

    /// The rate of a program that takes `seconds`.
    pub fn new(seconds: f64, planned: &Planned) -> Self {
        let bytes: usize = planned.program.nodes.iter().map(|node| bytes(&node.work, planned)).sum();
        let flops = planned.program.flops() as f64;
        Self { seconds, teraflops: flops / seconds / 1e12, gigabytes: bytes as f64 / seconds / 1e9 }
    }
}

/// Bytes of every operand of a node, each once.
fn bytes(work: &Work, planned: &Planned) -> usize {
    let touched = work.reads().into_iter().chain(work.writes());
    touched.map(|id| planned.program.bytes(id)).sum()
}

impl Ceilings {
    /// Measures them.
    pub fn measure(device: &Device) -> Result<Self> {
        Ok(Self {
            product: Rate::of(&product(LARGE_PRODUCT), device)?,
            stream: Rate::of(&stream(LARGE_COPY), device)?,
        })
    }
}

/// A square product without anything around it.
fn product(size: usize) -> Case {
    Case::real("ceiling", format!("product of {size}"), move |recorder: &mut Recorder| {
        let (x, weight) = (recorder.repeated("x", [size, size]), recorder.repeated("w", [size, size]));
        let y = recorder.program.activation("y", recorder.program.shape(x).clone());
        let base = Base { weight, rows: 0..size, bias: None };
        recorder.program.launch(Linear {
            base,
            terms: Vec::new(),
            x,
            hidden: None,
            y,
            epilogue: Epilogue::None,
        })?;
        recorder.output(y);
        Ok(())
    })
}

/// A sum of two long vectors.
fn stream(elements: usize) -> Case {
    Case::real("ceiling", format!("sum of {elements}"), move |recorder: &mut Recorder| {
        let (a, b) = (recorder.repeated("a", [elements]), recorder.repeated("b", [elements]));
        let sum = crate::ops::activation::add(&mut recorder.program, "sum", a, b)?;
        recorder.output(sum);
        Ok(())
    })
}
