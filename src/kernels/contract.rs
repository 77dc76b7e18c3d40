//! What every kernel states about itself.

use crate::device::Limits;
use crate::device::cpu;
use crate::device::cuda;
use crate::error::{Error, ErrorKind, Result};
use crate::tensor::{Shape, TensorId};

/// A tensor that is written on top of another one's values.
///
/// With `from`, the kernel finds those values in `to` and changes them; the plan gives both the same place
/// when nobody needs `from` afterwards, else the values are copied first. Without, the kernel writes all of `to`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Update {
    /// The values to start from.
    pub from: Option<TensorId>,
    /// The result.
    pub to: TensorId,
}

impl Update {
    /// Whether the kernel adds to what is there.
    pub fn accumulates(&self) -> bool {
        self.from.is_some()
    }

    /// What it starts from, if anything, and the result.
    pub fn tensors(&self) -> impl Iterator<Item = TensorId> + use<> {
        self.from.into_iter().chain([self.to])
    }
}

/// One operand of a kernel.
#[derive(Debug)]
pub enum Operand<'a> {
    /// Read only.
    Read(&'a mut TensorId),
    /// Written wholly.
    Write(&'a mut TensorId),
    /// Written on top of other values.
    Update(&'a mut Update),
}

/// Shapes of a program's tensors.
pub trait Shapes {
    /// The shape of `id`.
    fn shape(&self, id: TensorId) -> &Shape;
}

/// What every kernel states about itself.
pub trait Contract {
    /// Every operand, in a fixed order.
    fn operands(&mut self) -> Vec<Operand<'_>>;

    /// Whether the operands' shapes fit together; the error names the kernel and both shapes.
    fn check(&self, shapes: &dyn Shapes) -> Result<()>;

    /// Floating-point operations of its matrix products; none by default.
    fn flops(&self, _shapes: &dyn Shapes) -> u64 {
        0
    }

    /// Scratch memory of one launch, in bytes; none by default.
    fn workspace(&self, _shapes: &dyn Shapes, _limits: &Limits) -> usize {
        0
    }

    /// The definition: plain f32 on the processor.
    fn run_on_cpu(&self, operands: &cpu::Operands<'_>) -> Result<()>;

    /// The operands that are f32 on every device; the others are bf16 where a device computes in bf16.
    fn exact(&self) -> Vec<TensorId> {
        Vec::new()
    }

    /// Scratch memory of one launch on a card, in bytes; none by default.
    fn cuda_workspace(&self, _shapes: &dyn Shapes, _architecture: &cuda::Architecture) -> usize {
        0
    }

    /// The launches on a card: a pure function of the operands' places and shapes.
    ///
    /// # Errors
    /// The kernel has no CUDA form, or none for these operands.
    fn launch(
        &self,
        kernel: &'static str,
        _operands: &cuda::Operands<'_>,
        _to: &mut cuda::Launches,
    ) -> Result<()> {
        Err(Error::new(ErrorKind::Kernel, kernel, "the kernel has no CUDA form"))
    }
}

/// Fails unless `found` is `expected`.
pub fn expect_shape(kernel: &str, operand: &str, expected: &Shape, found: &Shape) -> Result<()> {
    if expected == found {
        return Ok(());
    }
    Err(Error::shape(kernel, format!("{operand} has shape {found}, expected {expected}")))
}

/// Fails with `what` unless `holds`.
pub fn expect(kernel: &str, holds: bool, what: impl FnOnce() -> String) -> Result<()> {
    if holds { Ok(()) } else { Err(Error::shape(kernel, what())) }
}
