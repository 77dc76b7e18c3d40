//! AdamW, learning-rate schedules and the exponential moving average.
