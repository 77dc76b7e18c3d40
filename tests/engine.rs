//! The engine: derivatives, recompute policies, the memory plan, dropout, and independence of threads.

mod recording;
mod transformer;

mod engine {
    mod derivatives;
    mod dropout;
    mod planner;
    mod policies;
    mod rows;
    mod slopes;
    mod threads;
    mod training_step;
    mod values;
}
