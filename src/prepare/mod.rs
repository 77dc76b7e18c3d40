//! From pictures of any size to pictures of the sizes that training wants.
//!
//! [`find`] says what a picture is about: faces, else the most salient region, else its middle. [`choose`] then
//! picks the size and the window that keep it.

mod doubt;
mod face;
mod focus;
mod region;
mod saliency;
mod thumbnail;
mod window;

pub use doubt::Doubt;
pub use face::{Face, THRESHOLD};
pub use focus::{Focus, FocusKind, FocusMode, find};
pub use region::{Point, Region};
pub use window::{Limits, Placement, Refusal, choose};

#[cfg(test)]
mod tests;
