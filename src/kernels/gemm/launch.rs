//! From problems to launches: the tile, the grid, and the second stage of split sums.

use crate::device::cuda::{Address, Architecture, Launches};
use crate::error::{Error, ErrorKind, Result};
use crate::kernels::gemm::choice::{Demand, Extent, GemmConfig, Layout, Rejected, Variant, choose};
use crate::kernels::gemm::encode::Encoder;
use crate::kernels::gemm::problem::{DeviceMatrix, Output, PerColumn, Problem};
use crate::kernels::low_rank::Dropout;
use crate::kernels::parameters::{GEMM_PROBLEMS, GemmParams, GemmPieces, GemmProblem};

/// Threads of a block of the kernels that are not products.
const THREADS: u32 = 256;
/// Neighbouring columns that one of their threads has, and that an epilogue takes at a time.
pub(super) const OCTET: usize = 8;

/// The mask of dropped elements of X, or of dX.
#[derive(Debug, Clone)]
pub struct Mask {
    /// Probability and rows of a sample.
    pub dropout: Dropout,
    /// The step state.
    pub state: Address,
    /// Columns of X.
    pub columns: usize,
}

/// Products that are computed together.
#[derive(Debug)]
pub struct Group {
    /// The node's kernel, for errors.
    pub kernel: &'static str,
    /// How the operands lie.
    pub layout: Layout,
    /// What else is done.
    pub variant: Variant,
    /// The mask, where the variant is [`Variant::Dropout`].
    pub mask: Option<Mask>,
    /// The products.
    pub problems: Vec<Problem>,
}

impl Group {
    /// Products without anything else.
    pub fn plain(kernel: &'static str, layout: Layout, problems: Vec<Problem>) -> Self {
        Self { kernel, layout, variant: Variant::Plain, mask: None, problems }
    }

    /// Products under a mask, if there is one.
    pub fn masked(kernel: &'static str, layout: Layout, mask: Option<Mask>, problems: Vec<Problem>) -> Self {
        let variant = if mask.is_some() { Variant::Dropout } else { Variant::Plain };
        Self { kernel, layout, variant, mask, problems }
    }

    /// The configuration for some of the problems.
    fn config(&self, problems: &[Problem], architecture: &Architecture) -> Result<GemmConfig> {
        let transposed = self.layout == Layout::Tn;
        let masks_result = self.layout == Layout::Nn && self.variant == Variant::Dropout;
        let demand = Demand {
            layout: self.layout,
            variant: self.variant,
            problems: problems.iter().map(|p| Extent { m: p.m, n: p.n, k: p.k(transposed) }).collect(),
            splits: !masks_result && problems.iter().all(Problem::splits),
        };
        let (config, rejected) = choose(&demand, architecture);
        config.ok_or_else(|| no_tile(self.kernel, &rejected))
    }

    /// The problems, as many together as a launch takes; empty ones are left out.
    fn launches(&self) -> Vec<Vec<Problem>> {
        let some: Vec<_> = self.problems.iter().filter(|p| p.m > 0 && p.n > 0).cloned().collect();
        some.chunks(GEMM_PROBLEMS as usize).map(<[_]>::to_vec).collect()
    }

    /// Bytes of scratch memory: the partial sums of one launch.
    pub fn workspace(&self, architecture: &Architecture) -> usize {
        let bytes = |problems: &Vec<Problem>| match self.config(problems, architecture) {
            Ok(config) => problems.iter().map(|problem| partial_sums(problem, &config)).sum::<usize>() * 4,
            Err(_) => 0,
        };
        self.launches().iter().map(bytes).max().unwrap_or(0)
    }

    /// Adds the launches. `workspace` is scratch memory of as many bytes as [`Group::workspace`] says.
    ///
    /// # Errors
    /// There are more segments than a launch takes, or no tile fits the card.
    pub fn launch(&self, workspace: Address, architecture: &Architecture, to: &mut Launches) -> Result<()> {
        for problems in self.launches() {
            let config = self.config(&problems, architecture)?;
            let mut encoder = Encoder::new(self, &config, workspace);
            problems.iter().try_for_each(|p| encoder.add(p, partial_sums(p, &config)))?;
            let (parameters, tiles) = encoder.finish();
            let grid = [tiles, config.splits as u32, 1];
            let (threads, shared) = (config.tile.threads(), config.tile.shared_bytes());
            to.push_shared(config.symbol, grid, threads, shared, &parameters);
            if self.variant == Variant::ColumnDot {
                parameters.problems[..problems.len()].iter().for_each(|problem| add_up_rows(problem, to));
            } else if config.splits > 1 {
                let octets = problems.iter().map(|p| p.m * p.n.div_ceil(OCTET)).max().unwrap_or(0);
                to.push("gemm_reduce", [blocks(octets), problems.len() as u32, 1], THREADS, &parameters);
            }
        }
        Ok(())
    }
}

fn no_tile(kernel: &str, rejected: &[Rejected]) -> Error {
    let reasons: Vec<_> = rejected.iter().map(|r| format!("{:?}: {}", r.tile, r.reason)).collect();
    Error::new(ErrorKind::Kernel, kernel, format!("no tile fits the card: {}", reasons.join("; ")))
}

/// Elements of a problem's partial sums.
fn partial_sums(problem: &Problem, config: &GemmConfig) -> usize {
    match problem.output {
        // Rows of tiles, padded so that the next problem's start at a multiple of sixteen bytes.
        Output::ColumnSums { .. } => {
            (config.tile.grid(problem.m, problem.n).0 * problem.n).next_multiple_of(4)
        }
        _ if config.splits > 1 => (config.splits * problem.m * problem.n).next_multiple_of(4),
        _ => 0,
    }
}

fn blocks(octets: usize) -> u32 {
    octets.div_ceil(THREADS as usize) as u32
}

/// The second stage of sums over rows: the rows of tiles are the splits of a problem with one row.
fn add_up_rows(problem: &GemmProblem, to: &mut Launches) {
    let mut sums: GemmParams = bytemuck::Zeroable::zeroed();
    (sums.num_problems, sums.splits) = (1, problem.tiles_m);
    sums.problems[0] = GemmProblem { m: 1, output_scales: GemmPieces { first: 0, count: 0 }, ..*problem };
    to.push("gemm_reduce", [blocks((problem.n as usize).div_ceil(OCTET)), 1, 1], THREADS, &sums);
}

/// Multiplies columns of dY by their scales: `scaled` gets the result, in bf16.
///
/// # Errors
/// There are more scales than a launch takes.
pub fn scale_columns(
    kernel: &'static str,
    scaled: DeviceMatrix,
    dy: DeviceMatrix,
    scales: &[PerColumn],
    to: &mut Launches,
) -> Result<()> {
    let parameters = Encoder::scaling(kernel, scaled, dy, scales)?;
    let octets = dy.rows * dy.columns.div_ceil(OCTET);
    if octets > 0 {
        to.push("gemm_scale_columns", [blocks(octets), 1, 1], THREADS, &parameters);
    }
    Ok(())
}
