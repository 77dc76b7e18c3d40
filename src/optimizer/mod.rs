//! Learning-rate schedules and the decay of the moving average; AdamW itself is a kernel.

pub mod ema;
pub mod schedule;
