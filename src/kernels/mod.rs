//! Every kernel: its contract and its definition in plain f32.
