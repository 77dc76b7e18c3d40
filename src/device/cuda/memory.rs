//! Memory that is given back when nobody has it any more.

use crate::device::cuda::gpu::{Address, Gpu};
use crate::error::Result;
use std::ptr::NonNull;
use std::sync::Arc;

/// Device memory. Whoever drops it has synchronised with the work that uses it.
#[derive(Debug)]
pub struct DeviceMemory {
    gpu: Arc<dyn Gpu>,
    address: Address,
    bytes: usize,
}

impl DeviceMemory {
    /// `bytes` of device memory with arbitrary content.
    pub fn new(gpu: &Arc<dyn Gpu>, bytes: usize) -> Result<Self> {
        Ok(Self { address: gpu.allocate(bytes.max(1))?, gpu: Arc::clone(gpu), bytes })
    }

    /// The first byte.
    pub fn address(&self) -> Address {
        self.address
    }

    /// Its size.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for DeviceMemory {
    fn drop(&mut self) {
        // SAFETY: allocated in `new`, given back here alone; the type asks for synchronisation before the drop.
        unsafe { self.gpu.release(self.address, self.bytes.max(1)) };
    }
}

/// Pinned host memory. Whoever drops or changes it has synchronised with the copies that use it.
#[derive(Debug)]
pub struct PinnedMemory {
    gpu: Arc<dyn Gpu>,
    base: NonNull<u8>,
    bytes: usize,
}

// SAFETY: it is plain memory with one owner.
unsafe impl Send for PinnedMemory {}
// SAFETY: shared access only reads.
unsafe impl Sync for PinnedMemory {}

impl PinnedMemory {
    /// `bytes` of zeroed pinned memory.
    pub fn new(gpu: &Arc<dyn Gpu>, bytes: usize) -> Result<Self> {
        Ok(Self { base: gpu.allocate_pinned(bytes.max(1))?, gpu: Arc::clone(gpu), bytes })
    }

    /// All bytes.
    pub fn as_slice(&self) -> &[u8] {
        // SAFETY: allocated and zeroed with this length.
        unsafe { std::slice::from_raw_parts(self.base.as_ptr(), self.bytes) }
    }

    /// All bytes, to write.
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        // SAFETY: as above, and `&mut self` makes the view the only one.
        unsafe { std::slice::from_raw_parts_mut(self.base.as_ptr(), self.bytes) }
    }
}

impl Drop for PinnedMemory {
    fn drop(&mut self) {
        // SAFETY: allocated in `new`, given back here alone; the type asks for synchronisation before the drop.
        unsafe { self.gpu.release_pinned(self.base, self.bytes.max(1)) };
    }
}
