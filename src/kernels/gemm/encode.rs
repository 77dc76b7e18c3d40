//! Problems as the kernels' parameter struct.

use crate::device::cuda::{Address, vectorised};
use crate::error::{Error, ErrorKind, Result};
use crate::kernels::activation::Activation;
use crate::kernels::gemm::choice::{BLOCK_K, GemmConfig, Layout};
use crate::kernels::gemm::launch::{Group, OCTET};
use crate::kernels::gemm::problem::{DeviceMatrix, Finish, Output, PerColumn, Problem, Segment, Stream};
use crate::kernels::parameters::*;
use bytemuck::Zeroable;

/// Parameters in the making.
pub(super) struct Encoder {
    kernel: &'static str,
    layout: Layout,
    config: Option<GemmConfig>,
    /// Where the next problem's partial sums go.
    partials: Address,
    tiles: u32,
    segments: usize,
    pieces: usize,
    out: GemmParams,
}

impl Encoder {
    /// No problems yet.
    pub(super) fn new(group: &Group, config: &GemmConfig, workspace: Address) -> Self {
        let mut out = GemmParams::zeroed();
        out.splits = config.splits as u32;
        if let Some(mask) = &group.mask {
            out.dropout = GemmDropout {
                state: mask.state,
                probability: mask.dropout.probability,
                rows_a_sample: mask.dropout.rows_a_sample as u32,
                columns: mask.columns as u32,
                reserved: 0,
            };
        }
        let (kernel, layout, config) = (group.kernel, group.layout, Some(*config));
        Self { kernel, layout, config, partials: workspace, tiles: 0, segments: 0, pieces: 0, out }
    }

    /// The parameters, and the number of tiles.
    pub(super) fn finish(self) -> (GemmParams, u32) {
        (self.out, self.tiles)
    }

    /// Parameters of the kernel that multiplies columns by scales.
    pub(super) fn scaling(
        kernel: &'static str,
        scaled: DeviceMatrix,
        dy: DeviceMatrix,
        scales: &[PerColumn],
    ) -> Result<GemmParams> {
        let out = GemmParams::zeroed();
        let layout = Layout::Nn;
        let mut this =
            Self { kernel, layout, config: None, partials: 0, tiles: 0, segments: 0, pieces: 0, out };
        let problem = GemmProblem {
            m: dy.rows as u32,
            n: dy.columns as u32,
            ldc: dy.stride as u32,
            dout: dy.address,
            c: scaled.address,
            vectors: if dy.vectorised() && scaled.vectorised() { GEMM_VECTOR_C } else { 0 },
            output_scales: this.add_pieces(scales)?,
            factor: 1.0,
            ..GemmProblem::zeroed()
        };
        (this.out.num_problems, this.out.splits) = (1, 1);
        this.out.problems[0] = problem;
        Ok(this.out)
    }

    /// Adds a problem with so many partial sums.
    pub(super) fn add(&mut self, problem: &Problem, partial_sums: usize) -> Result<()> {
        let first_segment = self.segments as u32;
        problem.scaled.iter().chain(&problem.segments).try_for_each(|segment| self.add_segment(segment))?;
        let mut out = GemmProblem {
            m: problem.m as u32,
            n: problem.n as u32,
            first_tile: self.tiles,
            first_segment,
            segments: self.segments as u32 - first_segment,
            scaled_segments: problem.scaled.len() as u32,
            slices_a_split: u32::MAX,
            ldc: problem.n as u32,
            factor: problem.factor,
            adapter: problem.adapter,
            rows_a_sample: 1,
            output_scales: self.add_pieces(&problem.output_scales)?,
            bias: problem.bias.unwrap_or(0),
            partials: self.partials,
            ..GemmProblem::zeroed()
        };
        if let Some(config) = self.config {
            let (down, across) = config.tile.grid(problem.m, problem.n);
            (out.tiles_m, out.tiles_n) = (down as u32, across as u32);
            if config.splits > 1 {
                let slices = problem.slices(self.layout == Layout::Tn, BLOCK_K);
                out.slices_a_split = slices.div_ceil(config.splits) as u32;
            }
        }
        self.set_output(&mut out, problem)?;
        self.tiles += out.tiles_m * out.tiles_n;
        self.partials += (partial_sums * size_of::<f32>()) as Address;
        self.out.problems[self.out.num_problems as usize] = out;
        self.out.num_problems += 1;
        Ok(())
    }

    fn add_segment(&mut self, segment: &Segment) -> Result<()> {
        let k = if self.layout == Layout::Tn { segment.a.rows } else { segment.a.columns };
        let flag = |matrix: &DeviceMatrix, flag| if matrix.vectorised() { flag } else { 0 };
        let place = self.out.segments.get_mut(self.segments).ok_or_else(|| full(self.kernel, "segments"))?;
        *place = GemmSegment {
            a: segment.a.address,
            b: segment.b.address,
            lda: segment.a.stride as u32,
            ldb: segment.b.stride as u32,
            k: k as u32,
            begin: segment.columns.start as u32,
            end: segment.columns.end as u32,
            vectors: flag(&segment.a, GEMM_VECTOR_A) | flag(&segment.b, GEMM_VECTOR_B),
            scale: segment.scale,
            reserved: 0,
        };
        self.segments += 1;
        Ok(())
    }

    fn add_pieces(&mut self, pieces: &[PerColumn]) -> Result<GemmPieces> {
        let first = self.pieces as u32;
        for piece in pieces {
            let place = self.out.pieces.get_mut(self.pieces).ok_or_else(|| full(self.kernel, "ranges"))?;
            let (begin, end) = (piece.columns.start as u32, piece.columns.end as u32);
            *place = GemmPiece { values: piece.values, begin, end };
            self.pieces += 1;
        }
        Ok(GemmPieces { first, count: pieces.len() as u32 })
    }

    fn set_output(&mut self, out: &mut GemmProblem, problem: &Problem) -> Result<()> {
        let mut vector = true;
        match &problem.output {
            Output::Matrix { c, accumulate, finish } => {
                out.accumulate = u32::from(*accumulate);
                let mut set = |matrix: &DeviceMatrix| {
                    out.ldc = matrix.stride as u32;
                    vector &= matrix.vectorised();
                    matrix.address
                };
                out.c = c.as_ref().map_or(0, &mut set);
                match finish {
                    Finish::Store => {}
                    Finish::Activate { activation, result } => {
                        (out.epilogue, out.result) = (epilogue_of(*activation), set(result));
                    }
                    Finish::GatedResidual { x, gate } => {
                        out.epilogue = GEMM_GATED_RESIDUAL;
                        match x {
                            Stream::Bf16(x) => out.result = set(x),
                            Stream::F32(x) => {
                                out.stream = *x;
                                vector &= vectorised(*x, problem.n, size_of::<f32>());
                            }
                        }
                        (out.gate, out.gate_stride) = (gate.first, gate.stride as u32);
                        out.rows_a_sample = gate.rows_a_sample as u32;
                        vector &= vectorised(gate.first, gate.stride, size_of::<f32>());
                        vector &= problem.n.is_multiple_of(OCTET);
                    }
                    Finish::QkNorm { norms, result } => {
                        (out.epilogue, out.result) = (GEMM_QK_NORM, set(result));
                        out.norms = self.add_pieces(norms)?;
                    }
                }
            }
            Output::Sums { sums, accumulate } => {
                (out.sums, out.accumulate) = (*sums, u32::from(*accumulate));
                vector = vectorised(*sums, problem.n, size_of::<f32>()) && problem.n.is_multiple_of(OCTET);
            }
            Output::ColumnSums { dout, sums, accumulate } => {
                (out.dout, out.ldc) = (dout.address, dout.stride as u32);
                (out.sums, out.accumulate) = (*sums, u32::from(*accumulate));
                vector = dout.vectorised() && vectorised(*sums, 0, 0);
            }
        }
        vector &= vectorised(out.bias, 0, 0);
        out.vectors = if vector { GEMM_VECTOR_C } else { 0 };
        Ok(())
    }
}

/// The kernels' word for an activation.
pub fn epilogue_of(activation: Activation) -> u32 {
    match activation {
        Activation::GeluTanh => GEMM_GELU_TANH,
        Activation::GeluErf => GEMM_GELU_ERF,
        Activation::QuickGelu => GEMM_QUICK_GELU,
        Activation::Silu => GEMM_SILU,
    }
}

fn full(kernel: &str, what: &str) -> Error {
    Error::new(ErrorKind::Kernel, kernel, format!("one launch does not take so many {what}"))
        .hint("fewer adapters may share one linear layer")
}
