//! The seam: what a card can do.

use crate::device::cuda::launch::Launch;
use crate::error::Result;
use std::fmt::Debug;
use std::ptr::NonNull;

/// An address in device memory.
pub type Address = u64;

/// A queue of work; work on different streams is ordered only by events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Stream(pub u64);

/// A point in a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Event(pub u64);

/// Captured work that can be replayed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Graph(pub u64);

/// What kernels are chosen by; a pure value, so that choices are tested without a card.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Architecture {
    /// Compute capability, ten times major plus minor: 80, 86, 89, 90, 120.
    pub compute: u32,
    /// Streaming multiprocessors.
    pub multiprocessors: u32,
    /// Bytes of shared memory that one block may have.
    pub shared_memory: u32,
}

/// A card, as `doctor` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Properties {
    /// The card's name.
    pub name: String,
    /// The driver's version as it names itself, such as `580.65`; the emulator says `emulator`.
    pub driver: String,
    /// What kernels are chosen by.
    pub architecture: Architecture,
    /// Bytes of device memory.
    pub memory: u64,
}

/// A card, or what stands in for one. Every call but `synchronize`, `elapsed` and the allocations returns before the
/// work is done. Streams, events and graphs live as long as the card is open.
pub trait Gpu: Debug + Send + Sync {
    /// What it is.
    fn properties(&self) -> &Properties;

    /// Bytes of device memory that are free now.
    fn free_memory(&self) -> Result<u64>;

    /// Device memory, aligned to at least 256 bytes, with arbitrary content.
    ///
    /// # Errors
    /// There is not enough; the error says how much was asked for and how much is free.
    fn allocate(&self, bytes: usize) -> Result<Address>;

    /// Gives device memory back.
    ///
    /// # Safety
    /// `address` came from `allocate`, is given back once, and no work still uses it.
    unsafe fn release(&self, address: Address, bytes: usize);

    /// Host memory that copies reach without a detour, zeroed, aligned to at least 64 bytes.
    fn allocate_pinned(&self, bytes: usize) -> Result<NonNull<u8>>;

    /// Gives pinned host memory back.
    ///
    /// # Safety
    /// As for `release`.
    unsafe fn release_pinned(&self, memory: NonNull<u8>, bytes: usize);

    /// A new stream.
    fn create_stream(&self) -> Result<Stream>;

    /// A new event.
    fn create_event(&self) -> Result<Event>;

    /// Marks the work queued on `stream` so far.
    fn record(&self, event: Event, stream: Stream) -> Result<()>;

    /// Lets later work on `stream` wait for what `event` marks; an event never recorded is no obstacle.
    fn wait(&self, stream: Stream, event: Event) -> Result<()>;

    /// Milliseconds between two recorded events, after both are reached.
    fn elapsed(&self, start: Event, end: Event) -> Result<f32>;

    /// Copies host memory to the device.
    ///
    /// # Safety
    /// `from` is valid for `bytes` and unchanged, and `to` is live device memory, until the copy is done.
    unsafe fn upload(&self, to: Address, from: *const u8, bytes: usize, stream: Stream) -> Result<()>;

    /// Copies device memory to the host.
    ///
    /// # Safety
    /// `to` is valid for `bytes` and otherwise untouched, and `from` is live device memory, until the copy is done.
    unsafe fn download(&self, to: *mut u8, from: Address, bytes: usize, stream: Stream) -> Result<()>;

    /// Copies within device memory.
    ///
    /// # Safety
    /// Both ranges are live until the copy is done and do not overlap.
    unsafe fn copy(&self, to: Address, from: Address, bytes: usize, stream: Stream) -> Result<()>;

    /// Sets device memory to a byte.
    ///
    /// # Safety
    /// The range is live until it is done.
    unsafe fn fill(&self, to: Address, byte: u8, bytes: usize, stream: Stream) -> Result<()>;

    /// Queues a kernel.
    ///
    /// # Safety
    /// The parameters are those that the kernel expects, and every address in them is live until it is done.
    unsafe fn launch(&self, launch: &Launch, stream: Stream) -> Result<()>;

    /// Waits until all work on `stream` is done; reports what went wrong in it.
    fn synchronize(&self, stream: Stream) -> Result<()>;

    /// From here on work on `stream` (and on streams that wait for it) is captured, not done.
    fn begin_capture(&self, stream: Stream) -> Result<()>;

    /// Ends the capture.
    fn end_capture(&self, stream: Stream) -> Result<Graph>;

    /// Queues captured work.
    ///
    /// # Safety
    /// Everything that the captured work touches is still live.
    unsafe fn replay(&self, graph: Graph, stream: Stream) -> Result<()>;
}
