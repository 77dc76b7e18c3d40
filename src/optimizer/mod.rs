//! AdamW, learning-rate schedules and the exponential moving average.

pub mod ema;
pub mod schedule;
