//! Draft.
#![allow(missing_docs, non_upper_case_globals, clippy::all)]
use bytemuck::{Pod, Zeroable};
pub const GEMM_PROBLEMS: u32 = 8;
pub const GEMM_SEGMENTS: u32 = 32;
pub const GEMM_PIECES: u32 = 24;
pub const GEMM_STORE: u32 = 0;
pub const GEMM_GELU_TANH: u32 = 1;
pub const GEMM_GELU_ERF: u32 = 2;
pub const GEMM_QUICK_GELU: u32 = 3;
pub const GEMM_SILU: u32 = 4;
pub const GEMM_GATED_RESIDUAL: u32 = 5;
pub const GEMM_QK_NORM: u32 = 6;
pub const GEMM_VECTOR_A: u32 = 1;
pub const GEMM_VECTOR_B: u32 = 2;
pub const GEMM_VECTOR_C: u32 = 4;
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub struct GemmPiece {
    pub values: u64,
    pub begin: u32,
    pub end: u32,
}
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub struct GemmPieces {
    pub first: u32,
    pub count: u32,
}
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub struct GemmSegment {
    pub a: u64,
    pub b: u64,
    pub lda: u32,
    pub ldb: u32,
    pub k: u32,
    pub begin: u32,
    pub end: u32,
    pub vectors: u32,
    pub scale: f32,
    pub reserved: u32,
}
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub struct GemmProblem {
    pub m: u32,
    pub n: u32,
    pub tiles_m: u32,
    pub tiles_n: u32,
    pub first_tile: u32,
    pub first_segment: u32,
    pub segments: u32,
    pub scaled_segments: u32,
    pub slices_a_split: u32,
    pub epilogue: u32,
    pub vectors: u32,
    pub ldc: u32,
    pub factor: f32,
    pub accumulate: u32,
    pub adapter: u32,
    pub gate_stride: u32,
    pub rows_a_sample: u32,
    pub reserved: u32,
    pub output_scales: GemmPieces,
    pub norms: GemmPieces,
    pub bias: u64,
    pub c: u64,
    pub result: u64,
    pub residual: u64,
    pub gate: u64,
    pub dout: u64,
    pub sums: u64,
    pub partials: u64,
}
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub struct GemmDropout {
    pub state: u64,
    pub probability: f32,
    pub rows_a_sample: u32,
    pub columns: u32,
    pub reserved: u32,
}
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub struct GemmParams {
    pub num_problems: u32,
    pub splits: u32,
    pub dropout: GemmDropout,
    pub problems: [GemmProblem; GEMM_PROBLEMS as usize],
    pub segments: [GemmSegment; GEMM_SEGMENTS as usize],
    pub pieces: [GemmPiece; GEMM_PIECES as usize],
}
