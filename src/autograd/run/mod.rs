//! Running programs: one arena and one persistent region, both made once, and a walk down the list.
//!
//! [`Engine`] is what everybody else sees: values in f32, whatever a device keeps them in. The memory and the
//! walk are those of the processor ([`host`]) or of a card ([`card`]).

mod card;
mod host;
mod launches;
mod planned;
mod staging;

pub use planned::Planned;

use crate::autograd::encoding::Encoding;
use crate::autograd::persistent::{Flat, Part, Persistent};
use crate::autograd::program::Program;
use crate::device::{Device, Limits};
use crate::error::{Error, ErrorKind, Result};
use crate::kernels::step_state;
use crate::tensor::TensorId;
use card::Card;
use half::bf16;
use host::Host;

/// Gives weights to a device: resident ones by name, streamed ones when a program asks.
pub trait WeightSource: Sync {
    /// Writes the weight `name` as f32.
    fn read(&self, name: &str, out: &mut [f32]) -> Result<()>;
}

/// One of the two blocks of memory that programs run in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Region {
    Arena,
    Persistent,
}

/// Memory on one kind of device, and the walk through a program there.
trait Memory: std::fmt::Debug + Send {
    /// Bytes of a region.
    fn bytes(&self, region: Region) -> usize;

    /// Replaces the arena by one of `bytes`.
    fn make_arena(&mut self, bytes: usize) -> Result<()>;

    /// Writes bytes into a region.
    fn write(&mut self, region: Region, offset: usize, bytes: &[u8]) -> Result<()>;

    /// Reads bytes of a region once all work is done.
    fn read(&self, region: Region, offset: usize, out: &mut [u8]) -> Result<()>;

    /// Sets bytes of a region to zero.
    fn clear(&mut self, region: Region, offset: usize, bytes: usize) -> Result<()>;

    /// Loads every resident weight of `program` that is not there yet.
    fn load_weights(&mut self, program: &Program, source: &dyn WeightSource) -> Result<()>;

    /// Bytes of resident weights.
    fn weight_bytes(&self) -> usize;

    /// Runs a program, or queues it.
    fn run(&mut self, planned: &Planned, source: &dyn WeightSource) -> Result<()>;

    /// Seconds that `runs` runs of a program take on the device.
    fn time(&mut self, planned: &Planned, runs: u32) -> Result<f64>;
}

/// Memory and everything in it: runs planned programs on a device.
#[derive(Debug)]
pub struct Engine {
    limits: Limits,
    layout: Persistent,
    memory: Box<dyn Memory>,
    /// The step state as the host knows it.
    state: Vec<f32>,
    /// Whether a program may have written the step state since the host read it.
    state_is_old: bool,
}

impl Engine {
    /// An engine with an arena of `arena_bytes` and a persistent region laid out as `layout`.
    ///
    /// # Errors
    /// The device has not that much memory.
    pub fn new(device: impl Into<Device>, arena_bytes: usize, layout: Persistent) -> Result<Self> {
        let device = device.into();
        let limits = device.limits()?;
        let memory: Box<dyn Memory> = match device {
            Device::Cpu(cpu) => Box::new(Host::new(cpu, arena_bytes, layout.clone())),
            Device::Cuda(gpu) => Box::new(Card::new(gpu, arena_bytes, layout.clone())?),
        };
        let state = vec![0.0; layout.state_words()];
        Ok(Self { limits, layout, memory, state, state_is_old: false })
    }

    /// Plans `program` for this engine's device.
    ///
    /// # Errors
    /// The device lacks a kernel.
    pub fn plan(&self, program: Program) -> Result<Planned> {
        Planned::new(program, &self.limits)
    }

    /// Makes the arena at least as large as a plan needs.
    pub fn reserve(&mut self, planned: &Planned) -> Result<()> {
        if self.arena_bytes() < planned.plan.bytes {
            self.memory.make_arena(planned.plan.bytes)?;
        }
        Ok(())
    }

    /// Bytes of the arena.
    pub fn arena_bytes(&self) -> usize {
        self.memory.bytes(Region::Arena)
    }

    /// Bytes of resident weights.
    pub fn weight_bytes(&self) -> usize {
        self.memory.weight_bytes()
    }

    /// Bytes of the persistent region.
    pub fn persistent_bytes(&self) -> usize {
        self.memory.bytes(Region::Persistent)
    }

    /// The persistent region's layout.
    pub fn layout(&self) -> &Persistent {
        &self.layout
    }

    /// Loads every resident weight of `program` that is not there yet.
    pub fn load_weights(&mut self, program: &Program, source: &dyn WeightSource) -> Result<()> {
        self.memory.load_weights(program, source)
    }

    /// Whether the persistent region has a flat buffer.
    pub fn has(&self, flat: Flat) -> bool {
        self.layout.encoding(flat, self.limits.precision()).is_some()
    }

    /// The values of a flat buffer; none if the region lacks it.
    pub fn flat(&self, flat: Flat) -> Result<Option<Vec<f32>>> {
        self.read_flat(flat, 0, self.layout.elements())
    }

    /// Sets the values of a flat buffer from `offset`, the first element of a parameter, on; does nothing if the
    /// region lacks the buffer.
    ///
    /// Values are rounded to what the buffer's form can hold; parameters are written into their working copy and its
    /// rest as well.
    pub fn set_flat(&mut self, flat: Flat, offset: usize, values: &[f32]) -> Result<()> {
        let values = self.layout.rounded(flat, values);
        self.write_flat(flat, offset, &values)?;
        if flat == Flat::Parameters {
            self.write_flat(Flat::Working, offset, &values)?;
            let rest: Vec<f32> = values.iter().map(|&value| value - bf16::from_f32(value).to_f32()).collect();
            self.write_flat(Flat::Rest, offset, &rest)?;
        }
        Ok(())
    }

    fn write_flat(&mut self, flat: Flat, offset: usize, values: &[f32]) -> Result<()> {
        let Some((start, encoding)) = self.flat_place(flat) else { return Ok(()) };
        let mut kept = vec![0; encoding.bytes(values.len())];
        encoding.encode(values, &mut kept);
        let mut rest = &kept[..];
        let pieces = encoding.pieces(offset..offset + values.len(), self.layout.elements());
        for piece in pieces.into_iter().filter(|piece| !piece.is_empty()) {
            let (part, after) = rest.split_at(piece.len());
            self.memory.write(Region::Persistent, start + piece.start, part)?;
            rest = after;
        }
        Ok(())
    }

    /// Sets a flat buffer to zero.
    pub fn clear_flat(&mut self, flat: Flat) -> Result<()> {
        let Some((start, _)) = self.flat_place(flat) else { return Ok(()) };
        let bytes = self.layout.flat_bytes(flat, self.limits.precision());
        self.memory.clear(Region::Persistent, start, bytes)
    }

    /// One parameter's part of a flat buffer; none if there is no such parameter or buffer.
    pub fn parameter(&self, name: &str, flat: Flat) -> Result<Option<Vec<f32>>> {
        let Some(parameter) = self.layout.parameter(name) else { return Ok(None) };
        self.read_flat(flat, parameter.offset, parameter.shape.elements())
    }

    fn read_flat(&self, flat: Flat, offset: usize, elements: usize) -> Result<Option<Vec<f32>>> {
        let Some((start, encoding)) = self.flat_place(flat) else { return Ok(None) };
        let (mut kept, mut values) = (vec![0; encoding.bytes(elements)], vec![0.0; elements]);
        let mut rest = &mut kept[..];
        let pieces = encoding.pieces(offset..offset + elements, self.layout.elements());
        for piece in pieces.into_iter().filter(|piece| !piece.is_empty()) {
            let (part, after) = rest.split_at_mut(piece.len());
            self.memory.read(Region::Persistent, start + piece.start, part)?;
            rest = after;
        }
        encoding.decode(&kept, &mut values);
        Ok(Some(values))
    }

    fn flat_place(&self, flat: Flat) -> Option<(usize, Encoding)> {
        let precision = self.limits.precision();
        Some((self.layout.start(Part::Flat(flat), precision)?, self.layout.encoding(flat, precision)?))
    }

    /// The step state of `samples` samples, as the last program left it.
    pub fn step_state(&mut self, samples: usize) -> Result<&[f32]> {
        self.refresh_state()?;
        Ok(&self.state[..step_state::words(samples)])
    }

    /// Changes the step state of `samples` samples.
    pub fn change_step_state(&mut self, samples: usize, change: impl FnOnce(&mut [f32])) -> Result<()> {
        self.refresh_state()?;
        change(&mut self.state[..step_state::words(samples)]);
        self.memory.write(Region::Persistent, 0, bytemuck::cast_slice(&self.state))
    }

    fn refresh_state(&mut self) -> Result<()> {
        if self.state_is_old {
            self.memory.read(Region::Persistent, 0, bytemuck::cast_slice_mut(&mut self.state))?;
            self.state_is_old = false;
        }
        Ok(())
    }

    /// Writes an input.
    pub fn write(&mut self, planned: &Planned, id: TensorId, values: &[f32]) -> Result<()> {
        let encoding = Encoding::from(planned.program.tensors[id.index()].dtype);
        let offset = self.input_place(planned, id, values.len())?;
        if encoding == Encoding::F32 {
            return self.memory.write(Region::Arena, offset, bytemuck::cast_slice(values));
        }
        let mut kept = vec![0; encoding.bytes(values.len())];
        encoding.encode(values, &mut kept);
        self.memory.write(Region::Arena, offset, &kept)
    }

    /// Writes an input of token ids.
    pub fn write_ids(&mut self, planned: &Planned, id: TensorId, values: &[i32]) -> Result<()> {
        let offset = self.input_place(planned, id, values.len())?;
        self.memory.write(Region::Arena, offset, bytemuck::cast_slice(values))
    }

    fn input_place(&self, planned: &Planned, id: TensorId, values: usize) -> Result<usize> {
        let tensor = &planned.program.tensors[id.index()];
        let elements = tensor.shape.elements();
        if elements != values {
            return Err(Error::shape(&tensor.name, format!("{values} values for {elements} elements")));
        }
        planned.place_of(id)
    }

    /// Reads an output.
    pub fn read(&self, planned: &Planned, id: TensorId) -> Result<Vec<f32>> {
        let tensor = &planned.program.tensors[id.index()];
        let (encoding, elements) = (Encoding::from(tensor.dtype), tensor.shape.elements());
        let (mut kept, mut values) = (vec![0; encoding.bytes(elements)], vec![0.0; elements]);
        self.memory.read(Region::Arena, planned.place_of(id)?, &mut kept)?;
        encoding.decode(&kept, &mut values);
        Ok(values)
    }

    /// Runs a program all of whose weights are resident.
    pub fn run(&mut self, planned: &Planned) -> Result<()> {
        self.run_streamed(planned, &NoWeights)
    }

    /// Seconds that `runs` runs of a program without streamed weights take, by the device's own clock.
    pub fn time(&mut self, planned: &Planned, runs: u32) -> Result<f64> {
        self.run(planned)?;
        self.memory.time(planned, runs)
    }

    /// Runs a program; weights that it streams come from `source`.
    pub fn run_streamed(&mut self, planned: &Planned, source: &dyn WeightSource) -> Result<()> {
        assert!(planned.plan.bytes <= self.arena_bytes(), "the arena was reserved for this plan");
        self.state_is_old = true;
        self.memory.run(planned, source)
    }
}

/// A source for programs that stream nothing.
struct NoWeights;

impl WeightSource for NoWeights {
    fn read(&self, name: &str, _out: &mut [f32]) -> Result<()> {
        Err(Error::new(ErrorKind::Device, "run", format!("weight `{name}` cannot be streamed here")))
    }
}

/// The error for a program that needs a weight which nobody loaded.
fn not_loaded(name: &str) -> Error {
    Error::new(ErrorKind::Device, "run", format!("weight `{name}` was not loaded"))
}
