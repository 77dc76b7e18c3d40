//! What a kernel's launcher sees: where its operands are, what they look like, and on which card.

use crate::device::cuda::gpu::{Address, Architecture};
use crate::device::cuda::launch::{Launch, Parameters};
use crate::error::{Error, Result};
use crate::tensor::{DType, Shape, TensorId};
use bytemuck::Pod;

/// A tensor of a program on a card.
#[derive(Debug, Clone)]
pub struct Located {
    /// Its first byte.
    pub address: Address,
    /// Its extents.
    pub shape: Shape,
    /// Its element type.
    pub dtype: DType,
}

/// The operands of one node.
#[derive(Debug, Clone, Copy)]
pub struct Operands<'a> {
    tensors: &'a [Located],
    workspace: (Address, usize),
    architecture: Architecture,
}

/// The launches that one node becomes, in order.
#[derive(Debug, Default)]
pub struct Launches(Vec<Launch>);

impl<'a> Operands<'a> {
    /// Operands among `tensors` on a card, with `workspace` bytes of scratch memory at an address.
    pub fn new(tensors: &'a [Located], workspace: (Address, usize), architecture: Architecture) -> Self {
        Self { tensors, workspace, architecture }
    }

    /// The shape of a tensor.
    pub fn shape(&self, id: TensorId) -> &'a Shape {
        &self.tensors[id.index()].shape
    }

    /// The element type of a tensor.
    pub fn dtype(&self, id: TensorId) -> DType {
        self.tensors[id.index()].dtype
    }

    /// The address of a tensor that must have elements of type `dtype`.
    ///
    /// # Errors
    /// It has others: the kernel has no form for them.
    pub fn address(&self, kernel: &str, id: TensorId, dtype: DType) -> Result<Address> {
        let tensor = &self.tensors[id.index()];
        if tensor.dtype == dtype {
            return Ok(tensor.address);
        }
        let cause = format!("an operand {} is {}, not {dtype}", tensor.shape, tensor.dtype);
        Err(Error::shape(kernel, cause))
    }

    /// The address of a bf16 tensor.
    pub fn bf16(&self, kernel: &str, id: TensorId) -> Result<Address> {
        self.address(kernel, id, DType::Bf16)
    }

    /// The address of an f32 tensor.
    pub fn f32(&self, kernel: &str, id: TensorId) -> Result<Address> {
        self.address(kernel, id, DType::F32)
    }

    /// The address of an i32 tensor.
    pub fn i32(&self, kernel: &str, id: TensorId) -> Result<Address> {
        self.address(kernel, id, DType::I32)
    }

    /// Scratch memory of the node: what its contract asked for.
    pub fn workspace(&self) -> (Address, usize) {
        self.workspace
    }

    /// The card.
    pub fn architecture(&self) -> Architecture {
        self.architecture
    }
}

impl Launches {
    /// Adds a launch of `kernel` on `grid` blocks of `threads` threads without dynamic shared memory.
    pub fn push<P: Pod>(&mut self, kernel: &'static str, grid: [u32; 3], threads: u32, parameters: &P) {
        self.push_shared(kernel, grid, threads, 0, parameters);
    }

    /// Adds a launch with `shared_bytes` of dynamic shared memory.
    pub fn push_shared<P: Pod>(
        &mut self,
        kernel: &'static str,
        grid: [u32; 3],
        threads: u32,
        shared_bytes: u32,
        parameters: &P,
    ) {
        let parameters = Parameters::new(parameters);
        self.0.push(Launch { kernel, grid, threads, shared_bytes, parameters });
    }

    /// All of them.
    pub fn into_vec(self) -> Vec<Launch> {
        self.0
    }
}

/// Whether rows of `columns` elements of `bytes` each, from `address` on, can be accessed sixteen bytes at a time.
pub fn vectorised(address: Address, columns: usize, bytes: usize) -> bool {
    const VECTOR: usize = 16;
    address.is_multiple_of(VECTOR as u64) && (columns * bytes).is_multiple_of(VECTOR)
}
