//! Running a case on a device and on the processor, and comparing.

use crate::autograd::run::Planned;
use crate::autograd::{Engine, Persistent};
use crate::device::Device;
use crate::device::cpu::Cpu;
use crate::doctor::case::{Case, Output, Recorder};
use crate::error::Result;
use crate::kernels::step_state;
use serde::Serialize;
use std::collections::BTreeSet;

/// How one output compares.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    /// The output's name.
    pub output: String,
    /// |found - expected| / |expected|, in L2.
    pub relative: f64,
    /// The largest difference.
    pub largest: f64,
    /// Where it is.
    pub at: usize,
}

/// What came of a case.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Verdict {
    /// Every output.
    pub comparisons: Vec<Comparison>,
    /// Whether a second run gave the same bits.
    pub repeats: bool,
    /// Whether all is well.
    pub passed: bool,
}

/// Runs `case` twice on `device` and once on the processor.
///
/// # Errors
/// The device cannot run it.
pub fn check(case: &Case, device: &Device) -> Result<Verdict> {
    let expected = Outputs::of(case, &Cpu::new().into())?;
    let (found, again) = (Outputs::of(case, device)?, Outputs::of(case, device)?);
    let repeats = found.same_bits(&again);
    let comparisons = found.compare(&expected);
    let close = comparisons.iter().all(|comparison| comparison.passes(case));
    Ok(Verdict { passed: close && repeats, comparisons, repeats })
}

/// The values of every output of a case, by name.
#[derive(Debug, Clone)]
pub struct Outputs(Vec<(String, Vec<f32>)>);

impl Outputs {
    /// Runs `case` on `device`.
    ///
    /// # Errors
    /// The device cannot run it.
    pub fn of(case: &Case, device: &Device) -> Result<Self> {
        let mut ready = Ready::new(case, device)?;
        ready.engine.run(&ready.planned)?;
        (0..ready.outputs.len()).map(|index| ready.read(index)).collect::<Result<_>>().map(Self)
    }

    /// Whether two runs gave the same bits.
    pub fn same_bits(&self, other: &Self) -> bool {
        self.0.iter().zip(&other.0).all(|((_, a), (_, b))| same_bits(a, b))
    }

    /// Every output beside what is expected of it.
    pub fn compare(&self, expected: &Self) -> Vec<Comparison> {
        self.0.iter().zip(&expected.0).map(|((name, a), (_, b))| compare(name, a, b)).collect()
    }
}

impl Comparison {
    /// Whether the error is within the case's tolerance.
    pub fn passes(&self, case: &Case) -> bool {
        // A comparison with NaN is false.
        self.relative <= case.tolerance
    }
}

/// The symbols of the kernels that a case launches on `device`; none on the processor.
///
/// # Errors
/// The device lacks one.
pub fn kernels(case: &Case, device: &Device) -> Result<BTreeSet<&'static str>> {
    let limits = device.limits()?;
    let Some(card) = limits.cuda else { return Ok(BTreeSet::new()) };
    let mut recorder = Recorder::default();
    (case.record)(&mut recorder)?;
    Planned::new(recorder.program, &limits)?.kernels(card)
}

/// A case in a device's memory, its inputs written.
#[derive(Debug)]
pub struct Ready {
    /// The memory.
    pub engine: Engine,
    /// What is to run.
    pub planned: Planned,
    outputs: Vec<Output>,
    samples: usize,
}

impl Ready {
    /// Records, plans and writes `case`.
    pub fn new(case: &Case, device: &Device) -> Result<Self> {
        let mut recorder = Recorder::default();
        (case.record)(&mut recorder)?;
        let Recorder { program, layout, inputs, weights, ids, flats, state, outputs } = recorder;
        let layout = layout.unwrap_or_else(|| Persistent::new(1));
        let mut engine = Engine::new(device.clone(), 0, layout)?;
        let planned = engine.plan(program)?;
        engine.reserve(&planned)?;
        engine.load_weights(&planned.program, &weights)?;
        inputs.iter().try_for_each(|(id, values)| engine.write(&planned, *id, values))?;
        ids.iter().try_for_each(|(id, values)| engine.write_ids(&planned, *id, values))?;
        flats.iter().try_for_each(|(flat, values)| engine.set_flat(*flat, 0, values))?;
        let samples = state.as_ref().map_or(0, |(_, samples)| samples.len());
        if let Some((header, samples)) = &state {
            engine.change_step_state(samples.len(), |words| {
                *step_state::header_mut(words) = *header;
                step_state::samples_mut(words).copy_from_slice(samples);
            })?;
        }
        Ok(Self { engine, planned, outputs, samples })
    }

    fn read(&mut self, index: usize) -> Result<(String, Vec<f32>)> {
        match &self.outputs[index] {
            Output::Tensor(id) => {
                let name = self.planned.program.tensors[id.index()].name.clone();
                Ok((name, self.engine.read(&self.planned, *id)?))
            }
            Output::Flat(flat) => Ok((format!("{flat:?}"), self.engine.flat(*flat)?.unwrap_or_default())),
            Output::StepState => {
                let state = self.engine.step_state(self.samples)?;
                let header = step_state::header(state);
                let losses = step_state::samples(state).iter().map(|sample| sample.loss);
                let values = losses.chain([header.gradient_norm, header.clip_factor]).collect();
                Ok(("step state".to_owned(), values))
            }
        }
    }
}

fn same_bits(a: &[f32], b: &[f32]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.to_bits() == b.to_bits())
}

fn compare(name: &str, found: &[f32], expected: &[f32]) -> Comparison {
    let (mut errors, mut squares, mut largest, mut at) = (0.0f64, 0.0f64, 0.0f64, 0);
    for (index, (found, expected)) in found.iter().zip(expected).enumerate() {
        let (found, expected) = (f64::from(*found), f64::from(*expected));
        let error = (found - expected).abs();
        errors += error * error;
        squares += expected * expected;
        if error > largest || error.is_nan() {
            (largest, at) = (error, index);
        }
    }
    let relative = if errors == 0.0 { 0.0 } else { (errors / squares.max(f64::MIN_POSITIVE)).sqrt() };
    Comparison { output: name.to_owned(), relative, largest, at }
}
