//! Differentiable ops over kernels.
