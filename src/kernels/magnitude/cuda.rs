//! Stub.
use super::*; use crate::error::{Error, ErrorKind};
impl MagnitudeScale {
    #[allow(dead_code)]
    pub(super) fn workspace_on_card(&self, _shapes: &dyn Shapes, _architecture: &Architecture) -> usize { 0 }
    pub(super) fn launch_on_card(&self, kernel: &'static str, _operands: &Operands<'_>, _to: &mut Launches) -> Result<()> {
        Err(Error::new(ErrorKind::Kernel, kernel, "the kernel has no CUDA form"))
    }
}
impl MagnitudeGradient {
    #[allow(dead_code)]
    pub(super) fn workspace_on_card(&self, _shapes: &dyn Shapes, _architecture: &Architecture) -> usize { 0 }
    pub(super) fn launch_on_card(&self, kernel: &'static str, _operands: &Operands<'_>, _to: &mut Launches) -> Result<()> {
        Err(Error::new(ErrorKind::Kernel, kernel, "the kernel has no CUDA form"))
    }
}
