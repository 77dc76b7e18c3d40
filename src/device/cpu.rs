//! The processor as a device: plain memory and threads. All its tensors are f32 (token ids are i32).

use crate::device::Limits;
use crate::tensor::{Shape, TensorId};

/// Alignment of every tensor, in bytes: one cache line, one AVX-512 register.
pub const ALIGNMENT: usize = 64;

/// The processor.
#[derive(Debug, Clone, Copy)]
pub struct Cpu {
    limits: Limits,
}

impl Cpu {
    /// The processor with as many lanes as the thread pool has threads.
    pub fn new() -> Self {
        Self { limits: Limits { lanes: rayon::current_num_threads(), memory: physical_memory(), cuda: None } }
    }

    /// What plans for this machine are made with.
    pub fn limits(&self) -> Limits {
        self.limits
    }
}

impl Default for Cpu {
    fn default() -> Self {
        Self::new()
    }
}

/// Bytes of memory in this machine; unlimited where it cannot be told.
fn physical_memory() -> u64 {
    let table = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kilobytes = table.lines().find_map(|line| line.strip_prefix("MemTotal:")?.split_whitespace().next());
    kilobytes.and_then(|kb| kb.parse::<u64>().ok()).map_or(u64::MAX, |kb| kb * 1024)
}

/// One cache line.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
struct Line([u8; ALIGNMENT]);

/// A block of memory, zeroed when made; all tensors of a region lie in one.
#[derive(Debug)]
pub struct Buffer {
    lines: Vec<Line>,
    bytes: usize,
}

impl Buffer {
    /// `bytes` of zeroed memory.
    pub fn zeroed(bytes: usize) -> Self {
        Self { lines: vec![Line([0; ALIGNMENT]); bytes.div_ceil(ALIGNMENT)], bytes }
    }

    /// Its size, as asked for.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The first byte.
    pub fn base(&mut self) -> *mut u8 {
        self.lines.as_mut_ptr().cast()
    }

    /// `elements` of `T` from byte `offset`.
    pub fn view<T: bytemuck::Pod>(&self, offset: usize, elements: usize) -> &[T] {
        let bytes = self.lines.as_ptr().cast::<u8>();
        assert!(offset + elements * size_of::<T>() <= self.bytes, "a view beyond its buffer");
        // SAFETY: within the allocation by the assertion, initialised at creation, any bytes are a valid `T`.
        bytemuck::cast_slice(unsafe {
            std::slice::from_raw_parts(bytes.add(offset), elements * size_of::<T>())
        })
    }

    /// `elements` of `T` from byte `offset`, to write.
    pub fn view_mut<T: bytemuck::Pod>(&mut self, offset: usize, elements: usize) -> &mut [T] {
        assert!(offset + elements * size_of::<T>() <= self.bytes, "a view beyond its buffer");
        let bytes = self.base();
        // SAFETY: as in `view`, and `&mut self` makes the view the only one.
        bytemuck::cast_slice_mut(unsafe {
            std::slice::from_raw_parts_mut(bytes.add(offset), elements * size_of::<T>())
        })
    }
}

/// A tensor of a running program: where its bytes are and what shape they have.
#[derive(Debug, Clone)]
pub struct Located {
    /// The first byte.
    pub base: *mut u8,
    /// Its extents.
    pub shape: Shape,
}

/// The operands of one launch: what a kernel's CPU definition reads and writes.
///
/// The memory plan keeps what a kernel writes apart from everything else that it touches, so handing out a
/// mutable view beside shared ones is sound as long as a kernel asks for each written operand once.
#[derive(Debug)]
pub struct Operands<'a> {
    tensors: &'a [Located],
    workspace: (*mut f32, usize),
    limits: Limits,
}

// SAFETY: threads of one launch share it to reach disjoint parts of what they write and any of what they read.
unsafe impl Sync for Operands<'_> {}

impl<'a> Operands<'a> {
    /// # Safety
    /// Every `Located` must point to its shape's worth of live memory, `workspace` to its length, and what
    /// the launched kernel writes must overlap nothing else that it reads or writes.
    pub unsafe fn new(tensors: &'a [Located], workspace: (*mut f32, usize), limits: Limits) -> Self {
        Self { tensors, workspace, limits }
    }

    /// The shape of a tensor.
    pub fn shape(&self, id: TensorId) -> &'a Shape {
        &self.tensors[id.index()].shape
    }

    /// The elements of a tensor.
    pub fn read(&self, id: TensorId) -> &'a [f32] {
        let tensor = &self.tensors[id.index()];
        // SAFETY: promised by the caller of `new`.
        unsafe { std::slice::from_raw_parts(tensor.base.cast(), tensor.shape.elements()) }
    }

    /// The elements of a tensor of token ids.
    pub fn read_ids(&self, id: TensorId) -> &'a [i32] {
        let tensor = &self.tensors[id.index()];
        // SAFETY: promised by the caller of `new`.
        unsafe { std::slice::from_raw_parts(tensor.base.cast(), tensor.shape.elements()) }
    }

    /// The elements of a tensor that the kernel writes; ask once a launch.
    #[allow(clippy::mut_from_ref)]
    pub fn write(&self, id: TensorId) -> &'a mut [f32] {
        let tensor = &self.tensors[id.index()];
        // SAFETY: promised by the caller of `new`; the kernel asks once.
        unsafe { std::slice::from_raw_parts_mut(tensor.base.cast(), tensor.shape.elements()) }
    }

    /// The limits that the launch was planned with.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// All of the launch's scratch memory; ask once a launch, and not for the lanes beside it.
    #[allow(clippy::mut_from_ref)]
    pub fn scratch(&self) -> &'a mut [f32] {
        let (base, elements) = self.workspace;
        // SAFETY: promised by the caller of `new`; the kernel asks once.
        unsafe { std::slice::from_raw_parts_mut(base, elements) }
    }

    /// The launch's scratch memory, one equal part a lane; ask once a launch.
    pub fn lanes(&self) -> Vec<&'a mut [f32]> {
        let (base, elements) = self.workspace;
        let part = elements / self.limits.lanes;
        // SAFETY: promised by the caller of `new`; the parts do not overlap.
        (0..self.limits.lanes)
            .map(|lane| unsafe { std::slice::from_raw_parts_mut(base.add(lane * part), part) })
            .collect()
    }
}
