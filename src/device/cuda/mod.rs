//! CUDA cards and their emulator, behind one seam.
//!
//! [`gpu::Gpu`] is all that the rest of the crate knows of a card: memory, streams, events, copies, launches,
//! graphs. The driver implements it for silicon, the emulator for machines without.

pub mod driver;
#[cfg(emulator)]
pub mod emulated;
pub mod gpu;
pub mod image;
pub mod launch;
pub mod memory;
pub mod operands;

pub use gpu::{Address, Architecture, Event, Gpu, Graph, Stream};
pub use launch::{Launch, Parameters};
pub use memory::{DeviceMemory, PinnedMemory};
pub use operands::{Launches, Located, Operands, vectorised};
