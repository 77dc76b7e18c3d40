//! CUDA form.
