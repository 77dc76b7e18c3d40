//! Whether a device computes what it should, and how fast: every kernel, in cases that name their shapes, against the
//! definition on the processor; whole training steps of the released models' sizes.
//!
//! The same table of cases serves the tests (on the emulator), the report of `sargent doctor` (on a card) and the
//! kernel benchmarks.

pub mod case;
pub mod cases;
pub mod check;
pub mod rate;
pub mod whole_step;

pub use case::{Case, Recorder, Scale};
pub use check::{Comparison, Outputs, Verdict, check, kernels};
pub use rate::{Ceilings, Rate};
