//! Matrix products on a card: what a launch computes, as data, and with which tile.
//!
//! The linear layers and their gradients are all made of the same products (kernels/gemm_*.cu): a launch has a list of
//! problems, a problem a list of segments of its sum over k.

mod choice;
mod encode;
mod launch;
mod problem;

pub use choice::{Demand, Extent, GemmConfig, Layout, Rejected, Tile, Variant, choose};
pub use encode::epilogue_of;
pub use launch::{Group, Mask, scale_columns};
pub use problem::{DeviceMatrix, Finish, Gates, HEAD_DIM, Output, PerColumn, Places, Problem, Segment};
