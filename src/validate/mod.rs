//! Pictures from prompts, while a run goes on and outside of one.

mod draw;

pub use draw::{Drawing, Picture, PictureModel, Prompt, STEPS_AHEAD, Shape};
