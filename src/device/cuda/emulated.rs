//! The emulator as a card: kernels compiled for the processor.
//!
//! Work is queued and done when somebody waits for it. Streams are ordered by nothing but their events: which of the
//! streams that can go on does so next is drawn, so that a missing event shows.

use crate::device::cuda::gpu::{Address, Architecture, Event, Gpu, Graph, Properties, Stream};
use crate::device::cuda::launch::Launch;
use crate::error::{Error, ErrorKind, Result};
use crate::random::{Purpose, Stream as Draws};
use std::collections::VecDeque;
use std::ffi::{CString, c_char, c_void};
use std::ptr::NonNull;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// As much memory as a card of the usual size has.
const MEMORY: u64 = 24 << 30;

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
    queues: Mutex<Queues>,
}

/// One piece of queued work.
#[derive(Debug, Clone)]
enum Work {
    Copy { to: Address, from: Address, bytes: usize },
    Fill { to: Address, byte: u8, bytes: usize },
    Launch(Launch),
    Record { event: usize, round: u64 },
    Wait { event: usize, round: u64 },
}

#[derive(Debug, Default)]
struct Queues {
    streams: Vec<VecDeque<Work>>,
    events: Vec<EventState>,
    graphs: Vec<Vec<Work>>,
    /// The stream whose work is captured, and what was captured.
    capture: Option<(Stream, Vec<Work>)>,
    checked: bool,
    seed: u64,
    draws: usize,
}

#[derive(Debug, Clone, Copy, Default)]
struct EventState {
    /// How often it was recorded, and how often such a record was reached.
    recorded: u64,
    reached: u64,
    time: Option<Instant>,
}

impl Emulated {
    /// A card of `architecture`; `seed` chooses the order of warps and streams.
    pub fn new(architecture: Architecture, seed: u64) -> Arc<dyn Gpu> {
        Self::build(architecture, false, seed)
    }

    /// A card whose launches are checked for races and for what C++ leaves undefined, several times as slow. They
    /// exist only where the build's C++ compiler is GCC; elsewhere launches fail.
    pub fn checked(architecture: Architecture, seed: u64) -> Arc<dyn Gpu> {
        Self::build(architecture, true, seed)
    }

    fn build(architecture: Architecture, checked: bool, seed: u64) -> Arc<dyn Gpu> {
        let (name, driver) = ("emulated card".to_owned(), "emulator".to_owned());
        let properties = Properties { name, driver, architecture, memory: MEMORY };
        Arc::new(Self { properties, queues: Mutex::new(Queues { checked, seed, ..Queues::default() }) })
    }

    /// The card that `--device emulator` opens: compute capability 8.0, with little to share.
    pub fn open() -> Arc<dyn Gpu> {
        Self::new(Architecture { compute: 80, multiprocessors: 4, shared_memory: 99 << 10 }, 0)
    }

    fn queues(&self) -> MutexGuard<'_, Queues> {
        // A test that panicked elsewhere leaves the queues as they are.
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn queue(&self, stream: Stream, work: Work) {
        let mut queues = self.queues();
        match &mut queues.capture {
            Some((captured, all)) if *captured == stream => all.push(work),
            _ => queues.streams[stream.0 as usize].push_back(work),
        }
    }

    fn check(&self, launch: &Launch) -> Result<()> {
        let limit = self.properties.architecture.shared_memory;
        if launch.shared_bytes <= limit {
            return Ok(());
        }
        let cause = format!("it needs {} bytes of shared memory, the card has {limit}", launch.shared_bytes);
        Err(Error::new(ErrorKind::Kernel, launch.kernel, cause))
    }
}

impl Queues {
    /// Does all work of all streams, the next stream drawn among those that can go on.
    fn drain(&mut self) -> Result<()> {
        loop {
            let ready: Vec<usize> =
                (0..self.streams.len()).filter(|&stream| self.can_go_on(stream)).collect();
            if ready.is_empty() {
                return Ok(());
            }
            self.draws += 1;
            let draws = Draws::new(self.seed, Purpose::EpochOrder, 1, 0, 0);
            let stream = ready[draws.below(self.draws, ready.len())];
            if let Some(work) = self.streams[stream].pop_front()
                && let Err(error) = self.perform(work)
            {
                self.streams.iter_mut().for_each(VecDeque::clear);
                return Err(error);
            }
        }
    }

    fn can_go_on(&self, stream: usize) -> bool {
        match self.streams[stream].front() {
            None => false,
            Some(Work::Wait { event, round }) => self.events[*event].reached >= *round,
            Some(_) => true,
        }
    }

    fn perform(&mut self, work: Work) -> Result<()> {
        match work {
            Work::Wait { .. } => {}
            Work::Record { event, round } => {
                self.events[event].reached = round;
                self.events[event].time = Some(Instant::now());
            }
            Work::Copy { to, from, bytes } => {
                // SAFETY: whoever queued the copy promised that both ranges are live and apart.
                unsafe { std::ptr::copy_nonoverlapping(from as *const u8, to as *mut u8, bytes) };
            }
            Work::Fill { to, byte, bytes } => {
                // SAFETY: whoever queued it promised that the range is live.
                unsafe { std::ptr::write_bytes(to as *mut u8, byte, bytes) };
            }
            Work::Launch(launch) => {
                self.draws += 1;
                run(
                    &launch,
                    self.checked,
                    self.seed.wrapping_mul(0x9E37_79B9).wrapping_add(self.draws as u64),
                )?;
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

impl Gpu for Emulated {
    fn properties(&self) -> &Properties {
        &self.properties
    }

    fn free_memory(&self) -> Result<u64> {
        Ok(MEMORY)
    }

    fn allocate(&self, bytes: usize) -> Result<Address> {
        // SAFETY: the call has no preconditions.
        let memory = unsafe { sargent_emulator_allocate(bytes) };
        if memory.is_null() {
            let cause = format!("{bytes} bytes cannot be had");
            return Err(Error::new(ErrorKind::Device, "memory", cause));
        }
        Ok(memory as Address)
    }

    unsafe fn release(&self, address: Address, bytes: usize) {
        // SAFETY: promised by the caller.
        unsafe { sargent_emulator_release(address as *mut c_void, bytes) };
    }

    fn allocate_pinned(&self, bytes: usize) -> Result<NonNull<u8>> {
        let address = self.allocate(bytes)? as *mut u8;
        // SAFETY: fresh memory of that size.
        unsafe { std::ptr::write_bytes(address, 0, bytes) };
        NonNull::new(address).ok_or_else(|| Error::new(ErrorKind::Device, "memory", "there is none"))
    }

    unsafe fn release_pinned(&self, memory: NonNull<u8>, bytes: usize) {
        // SAFETY: promised by the caller.
        unsafe { self.release(memory.as_ptr() as Address, bytes) };
    }

    fn create_stream(&self) -> Result<Stream> {
        let mut queues = self.queues();
        queues.streams.push(VecDeque::new());
        Ok(Stream(queues.streams.len() as u64 - 1))
    }

    fn create_event(&self) -> Result<Event> {
        let mut queues = self.queues();
        queues.events.push(EventState::default());
        Ok(Event(queues.events.len() as u64 - 1))
    }

    fn record(&self, event: Event, stream: Stream) -> Result<()> {
        let event = event.0 as usize;
        let round = {
            let mut queues = self.queues();
            queues.events[event].recorded += 1;
            queues.events[event].recorded
        };
        self.queue(stream, Work::Record { event, round });
        Ok(())
    }

    fn wait(&self, stream: Stream, event: Event) -> Result<()> {
        let event = event.0 as usize;
        let round = self.queues().events[event].recorded;
        self.queue(stream, Work::Wait { event, round });
        Ok(())
    }

    fn elapsed(&self, start: Event, end: Event) -> Result<f32> {
        let queues = self.queues();
        let time = |event: Event| queues.events[event.0 as usize].time;
        let times = time(start).zip(time(end));
        times
            .map(|(start, end)| end.saturating_duration_since(start).as_secs_f32() * 1e3)
            .ok_or_else(|| Error::new(ErrorKind::Device, "elapsed", "an event was not reached"))
    }

    unsafe fn upload(&self, to: Address, from: *const u8, bytes: usize, stream: Stream) -> Result<()> {
        self.queue(stream, Work::Copy { to, from: from as Address, bytes });
        Ok(())
    }

    unsafe fn download(&self, to: *mut u8, from: Address, bytes: usize, stream: Stream) -> Result<()> {
        self.queue(stream, Work::Copy { to: to as Address, from, bytes });
        Ok(())
    }

    unsafe fn copy(&self, to: Address, from: Address, bytes: usize, stream: Stream) -> Result<()> {
        self.queue(stream, Work::Copy { to, from, bytes });
        Ok(())
    }

    unsafe fn fill(&self, to: Address, byte: u8, bytes: usize, stream: Stream) -> Result<()> {
        self.queue(stream, Work::Fill { to, byte, bytes });
        Ok(())
    }

    unsafe fn launch(&self, launch: &Launch, stream: Stream) -> Result<()> {
        self.check(launch)?;
        self.queue(stream, Work::Launch(launch.clone()));
        Ok(())
    }

    fn synchronize(&self, stream: Stream) -> Result<()> {
        let mut queues = self.queues();
        queues.drain()?;
        if queues.streams[stream.0 as usize].is_empty() {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Device, "emulator", "a stream waits for an event that never comes"))
    }

    fn begin_capture(&self, stream: Stream) -> Result<()> {
        self.queues().capture = Some((stream, Vec::new()));
        Ok(())
    }

    fn end_capture(&self, _stream: Stream) -> Result<Graph> {
        let mut queues = self.queues();
        let captured = queues.capture.take().map(|(_, work)| work).unwrap_or_default();
        queues.graphs.push(captured);
        Ok(Graph(queues.graphs.len() as u64 - 1))
    }

    unsafe fn replay(&self, graph: Graph, stream: Stream) -> Result<()> {
        let mut queues = self.queues();
        let work = queues.graphs[graph.0 as usize].clone();
        queues.streams[stream.0 as usize].extend(work);
        Ok(())
    }
}
