//! The emulator that kernels are proven on: its words do what the hardware's do, and what goes wrong is reported.
#![cfg(emulator)]

#[path = "emulator/bench.rs"]
mod bench;
#[path = "emulator/faults.rs"]
mod faults;
#[path = "emulator/streams.rs"]
mod streams;
#[path = "emulator/tiles.rs"]
mod tiles;
#[path = "emulator/words.rs"]
mod words;
