//! Running programs: one arena and one persistent region, both made once, and a walk down the list.

use crate::autograd::persistent::{Flat, Persistent};
use crate::autograd::plan::Plan;
use crate::autograd::program::{Home, Program, Work};
use crate::device::cpu::{Buffer, Cpu, Located, Operands};
use crate::error::{Error, ErrorKind, Result};
use crate::kernels::step_state;
use crate::tensor::TensorId;
use std::collections::HashMap;

/// A program with its plan, ready to run.
#[derive(Debug, Clone)]
pub struct Planned {
    /// What to run.
    pub program: Program,
    /// Where everything lies.
    pub plan: Plan,
    /// For every node, the updates whose base must be copied to the result's place first.
    copies: Vec<Vec<(TensorId, TensorId)>>,
}

impl Planned {
    /// `program` under `plan`.
    pub fn new(program: Program, plan: Plan) -> Self {
        let copies = program.nodes.iter().map(|node| copies(&node.work, &program, &plan)).collect();
        Self { program, plan, copies }
    }
}

/// The updates of a node whose result does not share its base's place.
fn copies(work: &Work, program: &Program, plan: &Plan) -> Vec<(TensorId, TensorId)> {
    let Work::Launch(kernel) = work else { return Vec::new() };
    let place = |id: TensorId| (&program.tensors[id.index()].home, plan.offsets[id.index()]);
    let in_arena = |id: TensorId| program.in_arena(id);
    let apart = |from: TensorId, to: TensorId| match (in_arena(from), in_arena(to)) {
        (true, true) => place(from).1 != place(to).1,
        _ => place(from).0 != place(to).0,
    };
    let bases = kernel.updates().into_iter().filter_map(|update| Some((update.from?, update.to)));
    bases.filter(|&(from, to)| apart(from, to)).collect()
}

/// Gives weights to a device: resident ones by name, streamed ones when a program asks.
pub trait WeightSource: Sync {
    /// Writes the weight `name` as f32.
    fn read(&self, name: &str, out: &mut [f32]) -> Result<()>;
}

/// Memory and everything in it: runs planned programs on the processor.
#[derive(Debug)]
pub struct Engine {
    cpu: Cpu,
    arena: Buffer,
    persistent: Buffer,
    layout: Persistent,
    weights: HashMap<String, Buffer>,
}

impl Engine {
    /// An engine with an arena of `arena_bytes` (the largest of the plans that it will run).
    pub fn new(cpu: Cpu, arena_bytes: usize, layout: Persistent) -> Self {
        let persistent = Buffer::zeroed(layout.bytes());
        Self { cpu, arena: Buffer::zeroed(arena_bytes), persistent, layout, weights: HashMap::new() }
    }

    /// Plans `program` for this engine's device.
    pub fn plan(&self, program: Program) -> Planned {
        let plan = crate::autograd::plan::plan(&program, &self.cpu.limits());
        Planned::new(program, plan)
    }

    /// Makes the arena at least as large as a plan needs.
    pub fn reserve(&mut self, planned: &Planned) {
        if self.arena.bytes() < planned.plan.bytes {
            self.arena = Buffer::zeroed(planned.plan.bytes);
        }
    }

    /// Bytes of the arena.
    pub fn arena_bytes(&self) -> usize {
        self.arena.bytes()
    }

    /// Bytes of resident weights.
    pub fn weight_bytes(&self) -> usize {
        self.weights.values().map(Buffer::bytes).sum()
    }

    /// Bytes of the persistent region.
    pub fn persistent_bytes(&self) -> usize {
        self.persistent.bytes()
    }

    /// The persistent region's layout.
    pub fn layout(&self) -> &Persistent {
        &self.layout
    }

    /// Loads every resident weight of `program` that is not there yet.
    pub fn load_weights(&mut self, program: &Program, source: &dyn WeightSource) -> Result<()> {
        for tensor in &program.tensors {
            let Home::Weight(name) = &tensor.home else { continue };
            if !self.weights.contains_key(name) {
                let elements = tensor.shape.elements();
                let mut buffer = Buffer::zeroed(elements * size_of::<f32>());
                source.read(name, buffer.view_mut(0, elements))?;
                self.weights.insert(name.clone(), buffer);
            }
        }
        Ok(())
    }

    /// A flat buffer of the persistent region.
    pub fn flat(&self, flat: Flat) -> Option<&[f32]> {
        let start = self.layout.start(flat)?;
        Some(self.persistent.view(start, self.layout.flat_bytes() / size_of::<f32>()))
    }

    /// A flat buffer of the persistent region, to write.
    pub fn flat_mut(&mut self, flat: Flat) -> Option<&mut [f32]> {
        let start = self.layout.start(flat)?;
        Some(self.persistent.view_mut(start, self.layout.flat_bytes() / size_of::<f32>()))
    }

    /// One parameter's part of a flat buffer.
    pub fn parameter(&self, name: &str, flat: Flat) -> Option<&[f32]> {
        let parameter = self.layout.parameters().iter().find(|parameter| parameter.name == name)?;
        Some(&self.flat(flat)?[parameter.offset..][..parameter.shape.elements()])
    }

    /// The step state of `samples` samples.
    pub fn step_state(&self, samples: usize) -> &[f32] {
        self.persistent.view(0, step_state::words(samples))
    }

    /// The step state of `samples` samples, to write.
    pub fn step_state_mut(&mut self, samples: usize) -> &mut [f32] {
        self.persistent.view_mut(0, step_state::words(samples))
    }

    /// Writes an input.
    pub fn write(&mut self, planned: &Planned, id: TensorId, values: &[f32]) -> Result<()> {
        let offset = place_of(planned, id)?;
        let found = planned.program.tensors[id.index()].shape.elements();
        if found != values.len() {
            let name = &planned.program.tensors[id.index()].name;
            return Err(Error::shape(name, format!("{} values for {found} elements", values.len())));
        }
        self.arena.view_mut(offset, values.len()).copy_from_slice(values);
        Ok(())
    }

    /// Writes an input of token ids.
    pub fn write_ids(&mut self, planned: &Planned, id: TensorId, values: &[i32]) -> Result<()> {
        let offset = place_of(planned, id)?;
        self.arena.view_mut(offset, values.len()).copy_from_slice(values);
        Ok(())
    }

    /// Reads an output.
    pub fn read(&self, planned: &Planned, id: TensorId) -> Result<&[f32]> {
        let offset = place_of(planned, id)?;
        Ok(self.arena.view(offset, planned.program.tensors[id.index()].shape.elements()))
    }

    /// Runs a program all of whose weights are resident.
    pub fn run(&mut self, planned: &Planned) -> Result<()> {
        self.run_streamed(planned, &NoWeights)
    }

    /// Runs a program; weights that it streams come from `source`.
    pub fn run_streamed(&mut self, planned: &Planned, source: &dyn WeightSource) -> Result<()> {
        assert!(planned.plan.bytes <= self.arena.bytes(), "the arena was reserved for this plan");
        // From inside the pool a kernel hands out work without waking a sleeping thread for every launch.
        rayon::scope(|_| self.walk(planned, source))
    }

    /// Walks down the list.
    fn walk(&mut self, planned: &Planned, source: &dyn WeightSource) -> Result<()> {
        let located = self.locate(planned)?;
        let nodes = planned.program.nodes.iter().zip(&planned.copies);
        for ((node, copies), &(scratch, bytes)) in nodes.zip(&planned.plan.workspaces) {
            copies.iter().for_each(|&(from, to)| copy(&located[from.index()], &located[to.index()]));
            match &node.work {
                Work::WeightArrival { weight, to } => {
                    let elements = planned.program.tensors[to.index()].shape.elements();
                    source.read(weight, self.arena.view_mut(place_of(planned, *to)?, elements))?;
                }
                Work::Launch(kernel) => {
                    let workspace =
                        (self.arena.base().wrapping_add(scratch).cast(), bytes / size_of::<f32>());
                    // SAFETY: `located` points into this engine's buffers by the plan, which keeps what a
                    // kernel writes apart from what else it touches.
                    let operands = unsafe { Operands::new(&located, workspace, self.cpu.limits()) };
                    kernel.run_on_cpu(&operands)?;
                }
            }
        }
        Ok(())
    }

    /// Where every tensor of the program is.
    fn locate(&mut self, planned: &Planned) -> Result<Vec<Located>> {
        let (arena, persistent) = (self.arena.base(), self.persistent.base());
        let tensors = planned.program.tensors.iter().zip(&planned.plan.offsets);
        let locate = |(tensor, offset): (&crate::autograd::program::Tensor, &Option<usize>)| {
            let base = match &tensor.home {
                Home::Arena | Home::Input => arena.wrapping_add(offset.unwrap_or(0)),
                Home::Persistent(byte) => persistent.wrapping_add(*byte),
                Home::Weight(name) => match self.weights.get_mut(name) {
                    Some(buffer) => buffer.base(),
                    None => {
                        let cause = format!("weight `{name}` was not loaded");
                        return Err(Error::new(ErrorKind::Device, "run", cause));
                    }
                },
            };
            Ok(Located { base, shape: tensor.shape.clone() })
        };
        tensors.map(locate).collect()
    }
}

/// A source for programs that stream nothing.
struct NoWeights;

impl WeightSource for NoWeights {
    fn read(&self, name: &str, _out: &mut [f32]) -> Result<()> {
        Err(Error::new(ErrorKind::Device, "run", format!("weight `{name}` cannot be streamed here")))
    }
}

fn place_of(planned: &Planned, id: TensorId) -> Result<usize> {
    planned.plan.offsets[id.index()].ok_or_else(|| {
        let name = &planned.program.tensors[id.index()].name;
        Error::new(ErrorKind::Device, "run", format!("`{name}` is not in the arena"))
    })
}

/// Copies a base to its update's place.
fn copy(from: &Located, to: &Located) {
    let bytes = to.shape.elements() * size_of::<f32>();
    // SAFETY: both lie in live buffers by the plan, and do not overlap: they live at the same time.
    unsafe { std::ptr::copy_nonoverlapping(from.base, to.base, bytes) };
}
