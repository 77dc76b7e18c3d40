//! What a run leaves to look at: metrics, TensorBoard events, plots, grids, PNG text, the page; curves in characters; and the progress bar.

pub mod braille;
mod canvas;
mod font;
pub mod grid;
pub mod metrics;
pub mod page;
pub mod plot;
pub mod png;
pub mod progress;
pub mod samples;
pub mod tally;
pub mod tensorboard;
