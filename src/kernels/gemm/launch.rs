//! From problems to launches: the parameter struct, the grid, and the second stage of split sums.

use crate::device::cuda::{Address, Architecture, Launches, vectorised};
use crate::error::{Error, ErrorKind, Result};
use crate::kernels::activation::Activation;
use crate::kernels::gemm::choice::{BLOCK_K, Demand, Extent, GemmConfig, Layout, Variant, choose};
use crate::kernels::gemm::problem::{DeviceMatrix, Finish, HEAD_DIM, Output, PerColumn, Problem, Segment};
use crate::kernels::low_rank::Dropout;
use crate::kernels::parameters::{self as c, GemmParams, GemmPiece, GemmPieces, GemmProblem, GemmSegment};
use bytemuck::Zeroable;

/// Threads of a block of the second stage, and of the kernel that scales columns.
const THREADS: usize = 256;
/// Columns that a thread of theirs has.
const OCTET: usize = 8;

/// Products that are computed together.
#[derive(Debug)]
pub struct Group {
    /// The node's kernel, for errors.
    pub kernel: &'static str,
    /// How the operands lie.
    pub layout: Layout,
    /// What else is done.
    pub variant: Variant,
    /// The mask: the address of the step state, and the columns of X.
    pub dropout: Option<(Dropout, Address, usize)>,
    /// The products.
    pub problems: Vec<Problem>,
}

impl Group {
    /// What is asked of a tile for these of the problems.
    fn demand(&self, problems: &[Problem]) -> Demand {
        let extent =
            |p: &Problem| Extent { m: p.m, n: p.n, k: p.k(self.layout == Layout::Tn) };
        let masks_result = self.layout == Layout::Nn && self.variant == Variant::Dropout;
        Demand {
            layout: self.layout,
            variant: self.variant,
            problems: problems.iter().map(extent).collect(),
            splits: !masks_result && problems.iter().all(Problem::splits),
        }
    }

    fn config(&self, problems: &[Problem], architecture: &Architecture) -> Result<GemmConfig> {
        let (config, rejected) = choose(&self.demand(problems), architecture);
        config.ok_or_else(|| {
            let reasons: Vec<_> = rejected.iter().map(|r| format!("{:?}: {}", r.tile, r.reason)).collect();
            Error::new(ErrorKind::Kernel, self.kernel, format!("no tile fits: {}", reasons.join("; ")))
        })
    }

    /// The problems that one launch computes at a time, empty ones left out.
    fn launches(&self) -> Vec<Vec<Problem>> {
        let some: Vec<_> = self.problems.iter().filter(|p| p.m > 0 && p.n > 0).cloned().collect();
        some.chunks(c::GEMM_PROBLEMS as usize).map(<[_]>::to_vec).collect()
    }

    /// Bytes of scratch memory: the partial sums.
    pub fn workspace(&self, architecture: &Architecture) -> usize {
        let bytes = |problems: &Vec<Problem>| {
            let config = self.config(problems, architecture).ok();
            config.map_or(0, |config| problems.iter().map(|p| partial_bytes(p, &config)).sum())
        };
        self.launches().iter().map(bytes).max().unwrap_or(0)
    }

    /// Adds the launches; `workspace` is scratch memory of as many bytes as [`Group::workspace`] says.
    ///
    /// # Errors
    /// There are more segments than a launch takes, or no tile fits the card.
    pub fn launch(&self, workspace: Address, architecture: &Architecture, to: &mut Launches) -> Result<()> {
        for problems in self.launches() {
            let config = self.config(&problems, architecture)?;
            let mut parameters = Parameters::new(self, &config, workspace);
            problems.iter().try_for_each(|problem| parameters.add(problem))?;
            let Parameters { out, tiles, .. } = parameters;
            let grid = [tiles, config.splits as u32, 1];
            to.push_shared(config.symbol, grid, config.tile.threads(), config.tile.shared_bytes(), &out);
            if self.variant == Variant::ColumnDot {
                // The rows of tiles are the splits, and there is one row left.
                problems.iter().enumerate().for_each(|(index, problem)| {
                    let rows = out.problems[index].tiles_m;
                    let mut sums = *GemmParams::zeroed_box();
                    (sums.num_problems, sums.splits) = (1, rows);
                    sums.problems[0] = GemmProblem { m: 1, ..out.problems[index] };
                    sums.problems[0].output_scales = GemmPieces::zeroed();
                    push_reduce(&sums, 1, problem.n, to);
                });
            } else if config.splits > 1 {
                let octets = problems.iter().map(|p| p.m * p.n.div_ceil(OCTET)).max().unwrap_or(0);
                push_reduce(&out, problems.len(), octets * OCTET, to);
            }
        }
        Ok(())
    }
}
