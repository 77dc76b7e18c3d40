//! Element types and shapes. Tensors are contiguous and row-major; there are no strides.

mod dtype;
mod shape;

pub use dtype::DType;
pub use shape::Shape;

/// A tensor of a program, by its place in the program's table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TensorId(pub u32);

impl TensorId {
    /// The index into a program's table of tensors.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}
