//! Runs the kernels in `kernels/emulator/tests`.

use bytemuck::{Pod, Zeroable};
use half::bf16;
use sargent::device::cuda::emulated::Emulated;
use sargent::device::cuda::{Architecture, DeviceMemory, Gpu, Launch, Parameters, Stream};
use std::sync::Arc;

/// `EmulatorTestParams` of `kernels/emulator/tests/test.h`.
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C, align(64))]
pub struct Params {
    pub x: u64,
    pub y: u64,
    pub a: u64,
    pub b: u64,
    pub n: u32,
    pub fault: u32,
    pub bytes: u32,
    pub step: u32,
    pub reserved: [u32; 4],
    pub maps: [[u64; 16]; 3],
}

impl Params {
    /// No buffers, and a kernel without a fault.
    pub fn new() -> Self {
        Self::zeroed()
    }
}

/// An emulated card with one stream.
pub struct Bench {
    pub gpu: Arc<dyn Gpu>,
    pub stream: Stream,
}

const ARCHITECTURE: Architecture = Architecture { compute: 90, multiprocessors: 4, shared_memory: 227 << 10 };

impl Bench {
    /// Launches are as fast as they can be.
    pub fn plain(seed: u64) -> Self {
        Self::on(Emulated::card(ARCHITECTURE, seed))
    }

    /// Launches are looked at for races.
    pub fn checked(seed: u64) -> Self {
        Self::on(Emulated::checked(ARCHITECTURE, seed))
    }

    fn on(gpu: Arc<dyn Gpu>) -> Self {
        let stream = gpu.create_stream().expect("a stream");
        Self { gpu, stream }
    }

    /// A buffer of `count` elements that nobody has written.
    pub fn empty<T>(&self, count: usize) -> DeviceMemory {
        DeviceMemory::new(&self.gpu, count * size_of::<T>()).expect("memory")
    }

    /// A buffer with these values.
    pub fn buffer<T: Pod>(&self, values: &[T]) -> DeviceMemory {
        let memory = self.empty::<T>(values.len());
        // SAFETY: `values` and the buffer live until the copy is done, and have the same size.
        unsafe {
            self.gpu.upload(memory.address(), values.as_ptr().cast(), size_of_val(values), self.stream)
        }
        .expect("an upload");
        self.gpu.synchronize(self.stream).expect("the upload is done");
        memory
    }

    /// What a buffer holds.
    pub fn read<T: Pod>(&self, memory: &DeviceMemory) -> Vec<T> {
        let mut values = vec![T::zeroed(); memory.bytes() / size_of::<T>()];
        // SAFETY: as in `buffer`.
        unsafe {
            self.gpu.download(values.as_mut_ptr().cast(), memory.address(), memory.bytes(), self.stream)
        }
        .expect("a download");
        self.gpu.synchronize(self.stream).expect("the download is done");
        values
    }

    /// Runs a kernel of `blocks` blocks to its end; else says what went wrong.
    pub fn run(
        &self,
        kernel: &'static str,
        blocks: u32,
        threads: u32,
        shared_bytes: u32,
        params: &Params,
    ) -> Result<(), String> {
        let parameters = Parameters::new(params);
        let launch = Launch { kernel, grid: [blocks, 1, 1], threads, shared_bytes, parameters };
        // SAFETY: the buffers that the tests name live until `synchronize` returns.
        unsafe { self.gpu.launch(&launch, self.stream) }.map_err(|error| error.to_string())?;
        self.gpu.synchronize(self.stream).map_err(|error| error.to_string())
    }
}

/// 0, 1, 2 ...
pub fn counting(count: usize) -> Vec<f32> {
    (0..count).map(|i| i as f32).collect()
}

/// Small values that bf16 holds exactly, in no order.
pub fn values(count: usize, factor: usize) -> Vec<bf16> {
    (0..count).map(|i| bf16::from_f32(((i * factor + i / 7) % 61) as f32 / 16.0 - 2.0)).collect()
}

/// Asserts that `found` says all of `wanted`.
pub fn says(found: Result<(), String>, wanted: &[&str]) {
    let message = found.expect_err("the launch fails");
    for part in wanted {
        assert!(message.contains(part), "{part:?} is missing in {message:?}");
    }
}
