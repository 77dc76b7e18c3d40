//! Programs on a card: kernels queued on one stream, streamed weights arriving on another, and a captured graph for
//! programs that stream nothing.

use super::{Memory, NoWeights, Planned, Region, WeightSource, not_loaded};
use crate::autograd::encoding::Encoding;
use crate::autograd::persistent::Persistent;
use crate::autograd::program::{Home, Program, Tensor, Work};
use crate::autograd::run::launches::{NodeLaunches, launches};
use crate::autograd::run::staging::Staging;
use crate::device::Precision;
use crate::device::cuda::{Address, DeviceMemory, Event, Gpu, Graph, Stream};
use crate::error::Result;
use crate::tensor::TensorId;
use std::collections::HashMap;
use std::sync::{Arc, Weak};

/// A card's memory and its queues.
#[derive(Debug)]
pub(super) struct Card {
    gpu: Arc<dyn Gpu>,
    compute: Stream,
    transfer: Stream,
    /// Marks the compute stream where an arriving weight's place is free.
    freed: Event,
    /// Marks the transfer stream where a weight has arrived.
    arrived: Event,
    staging: Staging,
    arena: DeviceMemory,
    persistent: DeviceMemory,
    layout: Persistent,
    weights: HashMap<String, Address>,
    slabs: Vec<DeviceMemory>,
    prepared: HashMap<*const Program, Prepared>,
}

// SAFETY: the keys of `prepared` are only compared.
unsafe impl Send for Card {}

/// A program's launches, made once: every address in them is fixed as long as the arena stays.
#[derive(Debug)]
struct Prepared {
    /// Whether the program is still there, so that its address stands for it.
    program: Weak<Program>,
    nodes: Vec<NodeLaunches>,
    graph: Option<Graph>,
}

impl Card {
    /// An arena with arbitrary content and a persistent region of zeros.
    pub(super) fn new(gpu: Arc<dyn Gpu>, arena_bytes: usize, layout: Persistent) -> Result<Self> {
        let (compute, transfer) = (gpu.create_stream()?, gpu.create_stream()?);
        let persistent_bytes = layout.bytes(Precision::Bf16);
        let mut card = Self {
            compute,
            transfer,
            freed: gpu.create_event()?,
            arrived: gpu.create_event()?,
            staging: Staging::new(&gpu)?,
            arena: DeviceMemory::new(&gpu, arena_bytes)?,
            persistent: DeviceMemory::new(&gpu, persistent_bytes)?,
            layout,
            weights: HashMap::new(),
            slabs: Vec::new(),
            prepared: HashMap::new(),
            gpu,
        };
        card.clear(Region::Persistent, 0, persistent_bytes)?;
        Ok(card)
    }

    fn region(&self, region: Region) -> &DeviceMemory {
        match region {
            Region::Arena => &self.arena,
            Region::Persistent => &self.persistent,
        }
    }

    fn synchronize(&self) -> Result<()> {
        self.gpu.synchronize(self.transfer)?;
        self.gpu.synchronize(self.compute)
    }

    /// Queues the copy of what `fill` writes into staging memory.
    fn upload(
        &mut self,
        to: Address,
        bytes: usize,
        stream: Stream,
        fill: impl FnOnce(&mut [u8]) -> Result<()>,
    ) -> Result<()> {
        if !self.staging.has_room(bytes) {
            self.synchronize()?;
            self.staging.start_over(&self.gpu, bytes)?;
        }
        let staged = self.staging.take(bytes);
        fill(staged)?;
        // SAFETY: the target is live device memory of this card; staged bytes are handed out again only after
        // both streams were waited for.
        unsafe { self.gpu.upload(to, staged.as_ptr(), bytes, stream) }
    }

    /// Queues a weight's way from its source to `to`.
    fn upload_weight(
        &mut self,
        (name, encoding, elements): (&str, Encoding, usize),
        to: Address,
        stream: Stream,
        source: &dyn WeightSource,
    ) -> Result<()> {
        self.upload(to, encoding.bytes(elements), stream, |staged| {
            let mut values = vec![0.0; elements];
            source.read(name, &mut values)?;
            encoding.encode(&values, staged);
            Ok(())
        })
    }

    /// The address of a tensor outside the arena.
    fn locate(&self, tensor: &Tensor) -> Result<Address> {
        match &tensor.home {
            Home::Persistent(place) => {
                let byte =
                    self.layout.byte(*place, Precision::Bf16).ok_or_else(|| not_loaded(&tensor.name))?;
                Ok(self.persistent.address() + byte as Address)
            }
            Home::Weight(name) => self.weights.get(name).copied().ok_or_else(|| not_loaded(name)),
            // Never touched by any node.
            Home::Arena | Home::Input => Ok(self.arena.address()),
        }
    }

    /// Makes a program's launches, unless they are made.
    fn prepare(&mut self, planned: &Planned) -> Result<*const Program> {
        let key = Arc::as_ptr(&planned.program);
        let known = self.prepared.get(&key).is_some_and(|prepared| prepared.program.strong_count() > 0);
        if !known {
            self.prepared.retain(|_, prepared| prepared.program.strong_count() > 0);
            let architecture = self.gpu.properties().architecture;
            let nodes = launches(planned, self.arena.address(), architecture, |tensor| self.locate(tensor))?;
            let program = Arc::downgrade(&planned.program);
            self.prepared.insert(key, Prepared { program, nodes, graph: None });
        }
        Ok(key)
    }

    /// Queues a program's work.
    fn queue(&mut self, planned: &Planned, key: *const Program, source: &dyn WeightSource) -> Result<()> {
        for (index, node) in planned.program.nodes.iter().enumerate() {
            if let Work::WeightArrival { weight, to } = &node.work {
                self.queue_arrival(planned, key, index, (weight, *to), source)?;
            } else if let Some(prepared) = self.prepared.get(&key) {
                queue_kernels(&*self.gpu, &prepared.nodes[index], self.compute)?;
            }
        }
        Ok(())
    }

    /// Queues a weight's way to the card: after the kernels queued so far, before those that come.
    fn queue_arrival(
        &mut self,
        planned: &Planned,
        key: *const Program,
        index: usize,
        (weight, to): (&str, TensorId),
        source: &dyn WeightSource,
    ) -> Result<()> {
        let Some(place) = self.prepared.get(&key).and_then(|prepared| prepared.nodes[index].arrival.clone())
        else {
            return Ok(());
        };
        let tensor = &planned.program.tensors[to.index()];
        let about = (weight, Encoding::from(tensor.dtype), tensor.shape.elements());
        self.gpu.record(self.freed, self.compute)?;
        self.gpu.wait(self.transfer, self.freed)?;
        let address = self.arena.address() + place.start as Address;
        self.upload_weight(about, address, self.transfer, source)?;
        self.gpu.record(self.arrived, self.transfer)?;
        self.gpu.wait(self.compute, self.arrived)
    }

    /// Captures a program's work as a graph.
    fn capture(&self, nodes: &[NodeLaunches]) -> Result<Graph> {
        self.gpu.begin_capture(self.compute)?;
        let queued = nodes.iter().try_for_each(|node| queue_kernels(&*self.gpu, node, self.compute));
        let graph = self.gpu.end_capture(self.compute);
        queued.and(graph)
    }
}

fn queue_kernels(gpu: &dyn Gpu, node: &NodeLaunches, stream: Stream) -> Result<()> {
    for &(to, from, bytes) in &node.copies {
        // SAFETY: both are places that the plan keeps apart, in memory that lives as long as the card.
        unsafe { gpu.copy(to, from, bytes, stream) }?;
    }
    for launch in &node.kernels {
        // SAFETY: the launch was made by its kernel from places in memory that lives as long as the card.
        unsafe { gpu.launch(launch, stream) }?;
    }
    Ok(())
}

impl Memory for Card {
    fn bytes(&self, region: Region) -> usize {
        self.region(region).bytes()
    }

    fn make_arena(&mut self, bytes: usize) -> Result<()> {
        self.synchronize()?;
        self.prepared.clear();
        // The old arena goes first: there may be no room for both.
        self.arena = DeviceMemory::new(&self.gpu, 0)?;
        self.arena = DeviceMemory::new(&self.gpu, bytes)?;
        Ok(())
    }

    fn write(&mut self, region: Region, offset: usize, bytes: &[u8]) -> Result<()> {
        assert!(offset + bytes.len() <= self.region(region).bytes(), "a write beyond its region");
        let to = self.region(region).address() + offset as Address;
        self.upload(to, bytes.len(), self.compute, |staged| {
            staged.copy_from_slice(bytes);
            Ok(())
        })
    }

    fn read(&self, region: Region, offset: usize, out: &mut [u8]) -> Result<()> {
        assert!(offset + out.len() <= self.region(region).bytes(), "a read beyond its region");
        let from = self.region(region).address() + offset as Address;
        // SAFETY: the source is live, and `out` is not looked at before the stream was waited for.
        unsafe { self.gpu.download(out.as_mut_ptr(), from, out.len(), self.compute) }?;
        self.gpu.synchronize(self.compute)
    }

    fn clear(&mut self, region: Region, offset: usize, bytes: usize) -> Result<()> {
        assert!(offset + bytes <= self.region(region).bytes(), "a write beyond its region");
        let to = self.region(region).address() + offset as Address;
        // SAFETY: the range is live device memory of this card.
        unsafe { self.gpu.fill(to, 0, bytes, self.compute) }
    }

    fn load_weights(&mut self, program: &Program, source: &dyn WeightSource) -> Result<()> {
        const ALIGNMENT: usize = 256;
        let mut missing: Vec<(String, Encoding, usize)> = Vec::new();
        for tensor in &program.tensors {
            let Home::Weight(name) = &tensor.home else { continue };
            if !self.weights.contains_key(name) {
                missing.push((name.clone(), Encoding::from(tensor.dtype), tensor.shape.elements()));
            }
        }
        let place = |bytes: usize| bytes.next_multiple_of(ALIGNMENT);
        let total = missing.iter().map(|(_, encoding, elements)| place(encoding.bytes(*elements))).sum();
        if total == 0 {
            return Ok(());
        }
        let slab = DeviceMemory::new(&self.gpu, total)?;
        let mut address = slab.address();
        self.slabs.push(slab);
        for (name, encoding, elements) in missing {
            self.upload_weight((&name, encoding, elements), address, self.compute, source)?;
            self.weights.insert(name, address);
            address += place(encoding.bytes(elements)) as Address;
        }
        Ok(())
    }

    fn weight_bytes(&self) -> usize {
        self.slabs.iter().map(DeviceMemory::bytes).sum()
    }

    fn run(&mut self, planned: &Planned, source: &dyn WeightSource) -> Result<()> {
        let key = self.prepare(planned)?;
        let Some(prepared) = self.prepared.get(&key) else { return Ok(()) };
        if prepared.nodes.iter().any(|node| node.arrival.is_some()) {
            return self.queue(planned, key, source);
        }
        let graph = match prepared.graph {
            Some(graph) => graph,
            None => self.capture(&prepared.nodes)?,
        };
        if let Some(prepared) = self.prepared.get_mut(&key) {
            prepared.graph = Some(graph);
        }
        // SAFETY: the arena, the persistent region and the weights live as long as the card.
        unsafe { self.gpu.replay(graph, self.compute) }
    }

    fn time(&mut self, planned: &Planned, runs: u32) -> Result<f64> {
        let (start, end) = (self.gpu.create_event()?, self.gpu.create_event()?);
        self.synchronize()?;
        self.gpu.record(start, self.compute)?;
        (0..runs).try_for_each(|_| self.run(planned, &NoWeights))?;
        self.gpu.record(end, self.compute)?;
        self.synchronize()?;
        Ok(f64::from(self.gpu.elapsed(start, end)?) / 1e3)
    }
}

impl Drop for Card {
    fn drop(&mut self) {
        // An error of work whose results nobody asked for has nobody to be told to.
        drop(self.synchronize());
    }
}
