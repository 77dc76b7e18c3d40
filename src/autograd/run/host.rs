//! Programs on the processor.

use super::{Memory, NoWeights, Planned, Region, WeightSource, not_loaded};
use crate::autograd::persistent::Persistent;
use crate::autograd::program::{Home, Program, Work};
use crate::device::Precision;
use crate::device::cpu::{Buffer, Cpu, Located, Operands};
use crate::error::Result;
use std::collections::HashMap;
use std::time::Instant;

/// The processor's memory.
#[derive(Debug)]
pub(super) struct Host {
    cpu: Cpu,
    arena: Buffer,
    persistent: Buffer,
    layout: Persistent,
    weights: HashMap<String, Buffer>,
}

impl Host {
    /// An arena and a persistent region, both of zeros.
    pub(super) fn new(cpu: Cpu, arena_bytes: usize, layout: Persistent) -> Self {
        let persistent = Buffer::zeroed(layout.bytes(Precision::F32));
        Self { cpu, arena: Buffer::zeroed(arena_bytes), persistent, layout, weights: HashMap::new() }
    }

    fn region(&self, region: Region) -> &Buffer {
        match region {
            Region::Arena => &self.arena,
            Region::Persistent => &self.persistent,
        }
    }

    fn region_mut(&mut self, region: Region) -> &mut Buffer {
        match region {
            Region::Arena => &mut self.arena,
            Region::Persistent => &mut self.persistent,
        }
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
                    source.read(weight, self.arena.view_mut(planned.place_of(*to)?, elements))?;
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
                Home::Persistent(place) => {
                    let byte = self.layout.byte(*place, Precision::F32);
                    persistent.wrapping_add(byte.ok_or_else(|| not_loaded(&tensor.name))?)
                }
                Home::Weight(name) => self.weights.get_mut(name).ok_or_else(|| not_loaded(name))?.base(),
            };
            Ok(Located { base, shape: tensor.shape.clone() })
        };
        tensors.map(locate).collect()
    }
}

impl Memory for Host {
    fn bytes(&self, region: Region) -> usize {
        self.region(region).bytes()
    }

    fn make_arena(&mut self, bytes: usize) -> Result<()> {
        self.arena = Buffer::zeroed(bytes);
        Ok(())
    }

    fn write(&mut self, region: Region, offset: usize, bytes: &[u8]) -> Result<()> {
        self.region_mut(region).view_mut(offset, bytes.len()).copy_from_slice(bytes);
        Ok(())
    }

    fn read(&self, region: Region, offset: usize, out: &mut [u8]) -> Result<()> {
        out.copy_from_slice(self.region(region).view(offset, out.len()));
        Ok(())
    }

    fn clear(&mut self, region: Region, offset: usize, bytes: usize) -> Result<()> {
        self.region_mut(region).view_mut::<u8>(offset, bytes).fill(0);
        Ok(())
    }

    fn load_weights(&mut self, program: &Program, source: &dyn WeightSource) -> Result<()> {
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

    fn weight_bytes(&self) -> usize {
        self.weights.values().map(Buffer::bytes).sum()
    }

    fn run(&mut self, planned: &Planned, source: &dyn WeightSource) -> Result<()> {
        // From inside the pool a kernel hands out work without waking a sleeping thread for every launch.
        rayon::scope(|_| self.walk(planned, source))
    }

    fn time(&mut self, planned: &Planned, runs: u32) -> Result<f64> {
        let start = Instant::now();
        (0..runs).try_for_each(|_| self.run(planned, &NoWeights))?;
        Ok(start.elapsed().as_secs_f64())
    }
}

/// Copies a base to its update's place.
fn copy(from: &Located, to: &Located) {
    let bytes = to.shape.elements() * size_of::<f32>();
    // SAFETY: both lie in live buffers by the plan, and do not overlap: they live at the same time.
    unsafe { std::ptr::copy_nonoverlapping(from.base, to.base, bytes) };
}
