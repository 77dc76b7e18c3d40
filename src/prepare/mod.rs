//! From a folder of pictures of any size to one of the sizes that training wants.
//!
//! [`prepare`] does a whole folder. For each picture, [`find`] says what it is about: faces, else the most salient
//! region, else its middle; [`choose`] then picks the size and the window that keep it.

mod captions;
mod doubt;
mod encode;
mod face;
mod focus;
mod folder;
mod likeness;
mod looking;
mod making;
mod metadata;
mod options;
mod overrides;
mod placing;
mod record;
mod region;
mod saliency;
mod sheet;
mod sources;
mod target;
mod thumbnail;
mod timings;
mod window;

pub use doubt::Doubt;
pub use face::{Face, THRESHOLD};
pub use focus::{Focus, FocusKind, FocusMode, find};
pub use folder::{LeftOut, Observer, Summary, foresee, prepare};
pub use options::{Format, Options, parse_size, parse_sizes};
pub use record::{Entry, Extent, FocusRecord, Original, Record, Remark, State, Written};
pub use region::{Point, Region};
pub use timings::{Stage, Timings};
pub use window::{Limits, Placement, Refusal, choose};

#[cfg(test)]
mod tests;
