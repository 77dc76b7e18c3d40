//! The engine: derivatives, recompute policies, the memory plan, draws and dropout, independence of threads.

// A test that cannot go on has failed.
#![allow(clippy::unwrap_used)]

mod recording;
mod transformer;

mod engine {
    mod derivatives;
    mod draws;
    mod dropout;
    mod planner;
    mod policies;
    mod rows;
    mod slopes;
    mod threads;
    mod training_step;
    mod values;
}
