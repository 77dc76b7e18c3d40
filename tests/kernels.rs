//! Every kernel's CUDA form on the emulator, against its definition on the processor: the small cases of the doctor.

// A test that cannot go on has failed.
#![allow(clippy::unwrap_used)]
