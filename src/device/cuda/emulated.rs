//! The emulator as a card: kernels compiled for the processor.
//!
//! Work is queued and done when somebody waits for it, on the thread of whoever waits. Streams are ordered by nothing
//! but their events (see [`streams`]).

pub mod streams;

use crate::device::cuda::gpu::{Address, Architecture, Event, Gpu, Graph, Properties, Stream};
use crate::device::cuda::launch::Launch;
use crate::error::{Error, ErrorKind, Result};
use std::ffi::{CString, c_char, c_void};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use streams::{Entry, Streams};

/// As much memory as a card of the usual size has.
const MEMORY: u64 = 24 << 30;

/// What device memory is counted in.
const GRANULE: u64 = 256;

/// Most threads of a block, and most blocks in x, y and z.
const MOST_THREADS: u32 = 1024;
const MOST_BLOCKS: [u32; 3] = [i32::MAX as u32, 65_535, 65_535];

/// Bytes of the message with which a launch fails.
const MESSAGE_BYTES: usize = 8192;

/// The shape of a launch, as the emulator's C interface takes it (`kernels/emulator/api.h`).
#[repr(C)]
struct LaunchShape {
    grid: [u32; 3],
    threads: u32,
    shared_bytes: u32,
    checked: u32,
    seed: u64,
}

unsafe extern "C" {
    fn sargent_emulator_allocate(bytes: usize) -> *mut c_void;
    fn sargent_emulator_release(memory: *mut c_void, bytes: usize);
    fn sargent_emulator_launch(
        symbol: *const c_char,
        shape: *const LaunchShape,
        parameters: *const c_void,
        message: *mut c_char,
        message_bytes: usize,
    ) -> i32;
    fn sargent_emulator_bank_conflicts() -> u64;
    fn sargent_emulator_tensor_map(
        map: *mut c_void,
        tensor: *const Tensor,
        message: *mut c_char,
        message_bytes: usize,
    ) -> i32;
}

/// A tensor in device memory of which kernels copy tiles, as `cuTensorMapEncodeTiled` takes it.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
pub struct Tensor {
    /// The first element, at a multiple of 16 bytes.
    pub address: Address,
    /// Elements, innermost dimension first.
    pub sizes: [u64; 5],
    /// Bytes from one index to the next, of all dimensions but the innermost; multiples of 16.
    pub strides: [u64; 4],
    /// Elements of a tile.
    pub tile: [u32; 5],
    /// How many dimensions there are.
    pub dimensions: u32,
    /// 1, 2 or 4.
    pub element_bytes: u32,
    /// How a tile's chunks of 16 bytes are permuted: 0 not, 1, 2, 3 within rows of 32, 64, 128 bytes.
    pub swizzle: u32,
}

impl Tensor {
    /// What a kernel of the emulator takes as the tensor's map.
    ///
    /// # Errors
    /// The tensor cannot be copied in such tiles.
    pub fn map(&self) -> Result<[u64; 16]> {
        let mut map = [0; 16];
        let mut message = vec![0u8; MESSAGE_BYTES];
        // SAFETY: the map's 128 bytes, the tensor and the message live through the call.
        let code = unsafe {
            sargent_emulator_tensor_map(
                map.as_mut_ptr().cast(),
                self,
                message.as_mut_ptr().cast(),
                message.len(),
            )
        };
        if code == 0 { Ok(map) } else { Err(Error::new(ErrorKind::Kernel, "tensor map", text(&message))) }
    }
}

/// The text of a C string in `message`.
fn text(message: &[u8]) -> String {
    let end = message.iter().position(|&byte| byte == 0).unwrap_or(message.len());
    String::from_utf8_lossy(&message[..end]).into_owned()
}

/// Cycles that loads and stores of matrices lost to bank conflicts, in the last launch that this thread waited for.
pub fn bank_conflicts() -> u64 {
    // SAFETY: the call has no preconditions.
    unsafe { sargent_emulator_bank_conflicts() }
}

/// See the module's documentation.
#[derive(Debug)]
pub struct Emulated {
    properties: Properties,
    used: AtomicU64,
    state: Mutex<State>,
}

/// One piece of queued work.
#[derive(Debug, Clone)]
enum Work {
    Copy { to: Address, from: Address, bytes: usize },
    Fill { to: Address, byte: u8, bytes: usize },
    Launch(Launch),
    Replay(usize),
}

#[derive(Debug)]
struct State {
    streams: Streams<Work>,
    /// When events were last reached.
    times: Vec<Option<Instant>>,
    graphs: Vec<streams::Graph<Work>>,
    checked: bool,
}

impl Emulated {
    /// A card of `architecture`; `seed` chooses the order of warps and streams.
    pub fn card(architecture: Architecture, seed: u64) -> Arc<dyn Gpu> {
        Self::build(architecture, MEMORY, false, seed)
    }

    /// The same with `memory` bytes.
    pub fn with_memory(architecture: Architecture, memory: u64, seed: u64) -> Arc<dyn Gpu> {
        Self::build(architecture, memory, false, seed)
    }

    /// A card whose launches are checked for races and for what C++ leaves undefined, several times as slow. They
    /// exist only where the build's C++ compiler is GCC; elsewhere launches fail.
    pub fn checked(architecture: Architecture, seed: u64) -> Arc<dyn Gpu> {
        Self::build(architecture, MEMORY, true, seed)
    }

    fn build(architecture: Architecture, memory: u64, checked: bool, seed: u64) -> Arc<dyn Gpu> {
        let (name, driver) = ("emulated card".to_owned(), "emulator".to_owned());
        let properties = Properties { name, driver, architecture, memory };
        let state = State { streams: Streams::new(seed), times: Vec::new(), graphs: Vec::new(), checked };
        Arc::new(Self { properties, used: AtomicU64::new(0), state: Mutex::new(state) })
    }

    /// The card that `--device emulator` opens: compute capability 8.0, with little to share.
    pub fn open() -> Arc<dyn Gpu> {
        Self::card(Architecture { compute: 80, multiprocessors: 4, shared_memory: 99 << 10 }, 0)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A test that panicked elsewhere leaves the streams as they are.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, stream: Stream, work: Work) {
        self.state().streams.push(stream.0 as usize, work);
    }

    /// Whether a card could run it.
    fn check(&self, launch: &Launch) -> Result<()> {
        let Launch { kernel, grid, threads, shared_bytes, .. } = launch;
        let failed = |cause: String| Err(Error::new(ErrorKind::Kernel, *kernel, cause));
        let limit = self.properties.architecture.shared_memory;
        if *shared_bytes > limit {
            return failed(format!("it needs {shared_bytes} bytes of shared memory, the card has {limit}"));
        }
        if !(1..=MOST_THREADS).contains(threads) {
            return failed(format!("a block of {threads} threads: there may be 1 to {MOST_THREADS}"));
        }
        if grid.iter().zip(MOST_BLOCKS).any(|(&blocks, most)| blocks == 0 || blocks > most) {
            return failed(format!("a grid of {grid:?} blocks: there may be 1 to {MOST_BLOCKS:?}"));
        }
        Ok(())
    }
}

impl State {
    /// Does what comes next, of whichever stream, until `done`.
    fn advance(&mut self, done: impl Fn(&Self) -> bool) -> Result<()> {
        while !done(self) {
            let outcome = match self.streams.take_next() {
                Some(Entry::Work(work)) => self.perform(work),
                Some(Entry::Record(mark)) => {
                    self.times[mark.event] = Some(Instant::now());
                    Ok(())
                }
                Some(Entry::Wait(_)) => Ok(()),
                None => {
                    let cause = "a stream waits for an event that never comes";
                    Err(Error::new(ErrorKind::Device, "emulator", cause))
                }
            };
            if outcome.is_err() {
                self.streams.clear();
                return outcome;
            }
        }
        Ok(())
    }

    fn perform(&mut self, work: Work) -> Result<()> {
        match work {
            Work::Copy { to, from, bytes } => {
                // SAFETY: whoever queued the copy promised that both ranges are live and apart.
                unsafe { std::ptr::copy_nonoverlapping(from as *const u8, to as *mut u8, bytes) };
            }
            Work::Fill { to, byte, bytes } => {
                // SAFETY: whoever queued it promised that the range is live.
                unsafe { std::ptr::write_bytes(to as *mut u8, byte, bytes) };
            }
            Work::Launch(launch) => run(&launch, self.checked, self.streams.draw(usize::MAX) as u64)?,
            Work::Replay(graph) => {
                let seed = self.streams.draw(usize::MAX) as u64;
                let mut branches = Streams::of(&self.graphs[graph], seed);
                while let Some(entry) = branches.take_next() {
                    if let Entry::Work(work) = entry {
                        self.perform(work)?;
                    }
                }
            }
        }
        Ok(())
    }
}

/// Runs a kernel to its end.
fn run(launch: &Launch, checked: bool, seed: u64) -> Result<()> {
    let Launch { kernel, grid, threads, shared_bytes, parameters } = launch;
    let failed = |cause: String| Error::new(ErrorKind::Kernel, *kernel, cause);
    let symbol = CString::new(*kernel).map_err(|e| failed(e.to_string()))?;
    let shape = LaunchShape {
        grid: *grid,
        threads: *threads,
        shared_bytes: *shared_bytes,
        checked: u32::from(checked),
        seed,
    };
    let mut message = vec![0u8; MESSAGE_BYTES];
    // SAFETY: symbol, shape, parameters and message live through the call; whoever queued the launch promised that
    // its parameters are the kernel's and its addresses live.
    let code = unsafe {
        sargent_emulator_launch(
            symbol.as_ptr(),
            &shape,
            parameters.as_bytes().as_ptr().cast(),
            message.as_mut_ptr().cast(),
            message.len(),
        )
    };
    if code == 0 {
        return Ok(());
    }
    Err(failed(text(&message)))
}

/// An error of the streams.
fn misused(cause: &str) -> Error {
    Error::new(ErrorKind::Device, "emulator", cause)
}

impl Gpu for Emulated {
    fn properties(&self) -> &Properties {
        &self.properties
    }

    fn free_memory(&self) -> Result<u64> {
        Ok(self.properties.memory - self.used.load(Ordering::Relaxed))
    }

    fn allocate(&self, bytes: usize) -> Result<Address> {
        let all = self.properties.memory;
        let size = (bytes as u64).checked_next_multiple_of(GRANULE).unwrap_or(u64::MAX);
        let take = |used: u64| used.checked_add(size).filter(|used| *used <= all);
        let taken = self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take);
        // SAFETY: the call has no preconditions.
        let memory = taken.ok().map(|_| unsafe { sargent_emulator_allocate(bytes) });
        match memory {
            Some(memory) if !memory.is_null() => Ok(memory as Address),
            failed => {
                if failed.is_some() {
                    self.used.fetch_sub(size, Ordering::Relaxed);
                }
                let cause = format!("{bytes} bytes were asked for, {} are free", self.free_memory()?);
                Err(Error::new(ErrorKind::Device, "memory of the emulated card", cause))
            }
        }
    }

    unsafe fn release(&self, address: Address, bytes: usize) {
        self.used.fetch_sub((bytes as u64).next_multiple_of(GRANULE), Ordering::Relaxed);
        // SAFETY: promised by the caller.
        unsafe { sargent_emulator_release(address as *mut c_void, bytes) };
    }

    fn allocate_pinned(&self, bytes: usize) -> Result<NonNull<u8>> {
        // SAFETY: the call has no preconditions.
        let memory = NonNull::new(unsafe { sargent_emulator_allocate(bytes) }.cast::<u8>());
        let cause = || Error::new(ErrorKind::Device, "pinned memory", format!("{bytes} bytes cannot be had"));
        let memory = memory.ok_or_else(cause)?;
        // SAFETY: fresh memory of that size.
        unsafe { memory.write_bytes(0, bytes) };
        Ok(memory)
    }

    unsafe fn release_pinned(&self, memory: NonNull<u8>, bytes: usize) {
        // SAFETY: promised by the caller.
        unsafe { sargent_emulator_release(memory.as_ptr().cast(), bytes) };
    }

    fn create_stream(&self) -> Result<Stream> {
        Ok(Stream(self.state().streams.add_stream() as u64))
    }

    fn create_event(&self) -> Result<Event> {
        let mut state = self.state();
        state.times.push(None);
        Ok(Event(state.streams.add_event() as u64))
    }

    fn record(&self, event: Event, stream: Stream) -> Result<()> {
        self.state().streams.record(event.0 as usize, stream.0 as usize);
        Ok(())
    }

    fn wait(&self, stream: Stream, event: Event) -> Result<()> {
        self.state().streams.wait(stream.0 as usize, event.0 as usize).map_err(misused)
    }

    fn elapsed(&self, start: Event, end: Event) -> Result<f32> {
        let mut state = self.state();
        let events = [start.0 as usize, end.0 as usize];
        state.advance(|state| events.iter().all(|&event| state.streams.is_reached(event)))?;
        let [start, end] = events.map(|event| state.times[event]);
        let passed = start.zip(end).map(|(start, end)| end.saturating_duration_since(start));
        passed.map(|time| time.as_secs_f32() * 1e3).ok_or_else(|| misused("an event was never recorded"))
    }

    unsafe fn upload(&self, to: Address, from: *const u8, bytes: usize, stream: Stream) -> Result<()> {
        self.push(stream, Work::Copy { to, from: from as Address, bytes });
        Ok(())
    }

    unsafe fn download(&self, to: *mut u8, from: Address, bytes: usize, stream: Stream) -> Result<()> {
        self.push(stream, Work::Copy { to: to as Address, from, bytes });
        Ok(())
    }

    unsafe fn copy(&self, to: Address, from: Address, bytes: usize, stream: Stream) -> Result<()> {
        self.push(stream, Work::Copy { to, from, bytes });
        Ok(())
    }

    unsafe fn fill(&self, to: Address, byte: u8, bytes: usize, stream: Stream) -> Result<()> {
        self.push(stream, Work::Fill { to, byte, bytes });
        Ok(())
    }

    unsafe fn launch(&self, launch: &Launch, stream: Stream) -> Result<()> {
        self.check(launch)?;
        self.push(stream, Work::Launch(launch.clone()));
        Ok(())
    }

    fn synchronize(&self, stream: Stream) -> Result<()> {
        let mut state = self.state();
        let stream = stream.0 as usize;
        if state.streams.is_captured(stream) {
            return Err(misused("a stream that is being captured cannot be waited for"));
        }
        state.advance(|state| state.streams.is_idle(stream))
    }

    fn begin_capture(&self, stream: Stream) -> Result<()> {
        self.state().streams.begin_capture(stream.0 as usize).map_err(misused)
    }

    fn end_capture(&self, stream: Stream) -> Result<Graph> {
        let mut state = self.state();
        let graph = state.streams.end_capture(stream.0 as usize).map_err(misused)?;
        state.graphs.push(graph);
        Ok(Graph(state.graphs.len() as u64 - 1))
    }

    unsafe fn replay(&self, graph: Graph, stream: Stream) -> Result<()> {
        self.push(stream, Work::Replay(graph.0 as usize));
        Ok(())
    }
}

#[cfg(test)]
mod tests;
