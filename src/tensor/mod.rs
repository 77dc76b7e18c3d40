//! Element types and shapes. Tensors are contiguous and row-major; there are no strides.

mod dtype;
mod shape;

pub use dtype::DType;
pub use shape::Shape;
