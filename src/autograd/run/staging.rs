//! Pinned memory on the way to a card: handed out piece by piece, and again once the copies are done.

use crate::device::cuda::{Gpu, PinnedMemory};
use crate::error::Result;
use std::sync::Arc;

/// Bytes at first; what does not fit makes it grow.
const BYTES: usize = 32 << 20;

/// Alignment of a piece.
const ALIGNMENT: usize = 64;

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Staging {
    memory: PinnedMemory,
    used: usize,
}

impl Staging {
    /// Staging memory for a card.
    pub(super) fn new(gpu: &Arc<dyn Gpu>) -> Result<Self> {
        Ok(Self { memory: PinnedMemory::new(gpu, BYTES)?, used: 0 })
    }

    /// Whether a piece of `bytes` can be handed out now.
    pub(super) fn has_room(&self, bytes: usize) -> bool {
        self.used + bytes <= self.memory.as_slice().len()
    }

    /// Takes back all pieces, whose copies must be done, and makes room for one of `bytes`.
    pub(super) fn start_over(&mut self, gpu: &Arc<dyn Gpu>, bytes: usize) -> Result<()> {
        self.used = 0;
        if !self.has_room(bytes) {
            self.memory = PinnedMemory::new(gpu, bytes)?;
        }
        Ok(())
    }

    /// A piece of `bytes`, for which there must be room.
    pub(super) fn take(&mut self, bytes: usize) -> &mut [u8] {
        let piece = self.used..self.used + bytes;
        self.used = piece.end.next_multiple_of(ALIGNMENT);
        &mut self.memory.as_mut_slice()[piece]
    }
}
