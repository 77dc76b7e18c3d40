//! Which tile a product is computed with, and over how many blocks its sum is split: a pure function of shapes and
//! architecture.
//!
//! Every candidate gets an estimate in clock cycles of one multiprocessor: the slices of k that the busiest one works
//! through, times what a slice costs at that number of blocks. The constants are rough; they order the candidates, and
//! nothing else depends on them.

use crate::device::cuda::Architecture;

/// How the operands lie; the names are those of BLAS: whether A and B are transposed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Layout {
    /// A `[m, k]`, B `[n, k]`.
    Nt,
    /// A `[m, k]`, B `[k, n]`.
    Nn,
    /// A `[k, m]`, B `[k, n]`.
    Tn,
}

/// What a product does besides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Variant {
    /// Nothing.
    Plain,
    /// A mask of dropout goes over X or dX.
    Dropout,
    /// It is multiplied with another matrix and summed over rows.
    ColumnDot,
}

/// Rows and columns of C that one block computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Tile {
    /// For large products.
    M128N256,
    /// For large products, where the larger tile leaves processors idle or memory short.
    M128N128,
    /// For small products and those with little parallelism.
    M64N64,
}

/// All tiles.
pub const TILES: [Tile; 3] = [Tile::M128N256, Tile::M128N128, Tile::M64N64];

/// One problem of a launch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// Rows of C.
    pub m: usize,
    /// Columns of C.
    pub n: usize,
    /// Length of the sum, ranks included.
    pub k: usize,
}

/// What has to be computed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Demand {
    /// How the operands lie.
    pub layout: Layout,
    /// What it does besides.
    pub variant: Variant,
    /// The problems of the launch.
    pub problems: Vec<Extent>,
    /// Whether the sum over k may be split: it is a single segment and has no epilogue.
    pub splits: bool,
}

/// How a product is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GemmConfig {
    /// The tile.
    pub tile: Tile,
    /// The kernel's symbol.
    pub symbol: &'static str,
    /// Parts that the sum over k is split into.
    pub splits: usize,
}

/// A candidate that was not chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// The candidate's tile.
    pub tile: Tile,
    /// Why.
    pub reason: String,
}

/// Elements of k in a slice: the kernels' BLOCK_K.
pub const BLOCK_K: usize = 32;
/// Slices that a split has at least, so that filling its pipeline does not dominate.
const SLICES_A_SPLIT: usize = 8;
/// Splits at most.
const MOST_SPLITS: usize = 32;
/// Multiply-adds of one multiprocessor in a cycle.
const MACS_A_CYCLE: f64 = 1024.0;
/// Cycles that one slice takes at least: from barrier to barrier.
const SHORTEST_SLICE: f64 = 200.0;
/// Cycles that a block spends outside its main loop.
const AROUND_THE_LOOP: f64 = 2500.0;
/// Cycles of a second launch that adds up the splits.
const SECOND_LAUNCH: f64 = 4000.0;
/// Bytes of memory traffic of one multiprocessor in a cycle.
const BYTES_A_CYCLE: f64 = 16.0;

impl Tile {
    /// Rows of C.
    pub fn rows(self) -> usize {
        match self {
            Self::M128N256 | Self::M128N128 => 128,
            Self::M64N64 => 64,
        }
    }

    /// Columns of C.
    pub fn columns(self) -> usize {
        match self {
            Self::M128N256 => 256,
            Self::M128N128 => 128,
            Self::M64N64 => 64,
        }
    }

    /// Threads of a block.
    pub fn threads(self) -> u32 {
        match self {
            Self::M128N256 => 256,
            Self::M128N128 | Self::M64N64 => 128,
        }
    }

    /// Slices in the ring.
    fn stages(self) -> usize {
        match self {
            Self::M128N256 => 3,
            Self::M128N128 | Self::M64N64 => 4,
        }
    }

    /// Bytes of shared memory of a block: the ring, which also serves the epilogue.
    pub fn shared_bytes(self) -> u32 {
        (self.stages() * (self.rows() + self.columns()) * BLOCK_K * 2) as u32
    }

    /// Tiles of an m x n matrix, down and across.
    pub fn grid(self, m: usize, n: usize) -> (usize, usize) {
        (m.div_ceil(self.rows()), n.div_ceil(self.columns()))
    }

    /// Share of the peak that its inner loop reaches with one block on a multiprocessor, and with as many as fit.
    fn efficiency(self) -> (f64, f64) {
        match self {
            Self::M128N256 => (0.95, 0.95),
            Self::M128N128 => (0.7, 0.9),
            Self::M64N64 => (0.4, 0.65),
        }
    }

    /// Blocks that a multiprocessor holds: bound by registers, and by shared memory of about what one block may have.
    fn resident(self, architecture: &Architecture) -> usize {
        let by_registers = match self {
            Self::M128N256 => 1,
            Self::M128N128 => 2,
            Self::M64N64 => 3,
        };
        by_registers.min((architecture.shared_memory / self.shared_bytes()) as usize).max(1)
    }
}

/// The kernel for a layout and a tile, if there is one.
pub fn symbol(layout: Layout, variant: Variant, tile: Tile) -> Option<&'static str> {
    use {Layout::*, Tile::*, Variant::*};
    Some(match (layout, variant, tile) {
        (Nt, Plain, M128N256) => "gemm_nt_128x256",
        (Nt, Plain, M128N128) => "gemm_nt_128x128",
        (Nt, Plain, M64N64) => "gemm_nt_64x64",
        (Nt, Dropout, M64N64) => "gemm_nt_64x64_dropout",
        (Nt, ColumnDot, M64N64) => "gemm_nt_64x64_column_dot",
        (Nn, Plain, M128N256) => "gemm_nn_128x256",
        (Nn, Plain, M128N128) => "gemm_nn_128x128",
        (Nn, Plain, M64N64) => "gemm_nn_64x64",
        (Nn, Dropout, M64N64) => "gemm_nn_64x64_dropout",
        (Tn, Plain, M128N128) => "gemm_tn_128x128",
        (Tn, Plain, M64N64) => "gemm_tn_64x64",
        (Tn, Dropout, M64N64) => "gemm_tn_64x64_dropout",
        _ => return None,
    })
}

/// The configuration that should be fastest, and why not the others; none where no kernel fits the card.
pub fn choose(demand: &Demand, architecture: &Architecture) -> (Option<GemmConfig>, Vec<Rejected>) {
    let mut rejected = Vec::new();
    let mut best: Option<(f64, GemmConfig)> = None;
    for tile in TILES {
        let Some(symbol) = symbol(demand.layout, demand.variant, tile) else {
            rejected.push(Rejected { tile, reason: "there is no such kernel".to_owned() });
            continue;
        };
        if tile.shared_bytes() > architecture.shared_memory {
            let (needs, has) = (tile.shared_bytes(), architecture.shared_memory);
            let reason = format!("it needs {needs} bytes of shared memory, a block has {has}");
            rejected.push(Rejected { tile, reason });
            continue;
        }
        let (cycles, splits) = best_split(demand, tile, architecture);
        let candidate = (cycles, GemmConfig { tile, symbol, splits });
        let slower = match best {
            Some(known) if known.0 <= cycles => candidate,
            _ => match best.replace(candidate) {
                Some(known) => known,
                None => continue,
            },
        };
        let fastest = best.map_or(0.0, |(cycles, _)| cycles);
        let reason = format!("about {:.0} cycles, not {fastest:.0}", slower.0);
        rejected.push(Rejected { tile: slower.1.tile, reason });
    }
    (best.map(|(_, config)| config), rejected)
}

/// The number of splits with the smallest estimate.
fn best_split(demand: &Demand, tile: Tile, architecture: &Architecture) -> (f64, usize) {
    let slices = longest(demand);
    let most = if demand.splits { (slices / SLICES_A_SPLIT).clamp(1, MOST_SPLITS) } else { 1 };
    let estimates = (1..=most).map(|splits| (cycles(demand, tile, splits, architecture), splits));
    estimates.min_by(|a, b| a.0.total_cmp(&b.0)).unwrap_or((f64::INFINITY, 1))
}

/// Slices of the longest sum.
fn longest(demand: &Demand) -> usize {
    demand.problems.iter().map(|problem| problem.k.div_ceil(BLOCK_K)).max().unwrap_or(0)
}

/// Estimated cycles from start to end.
fn cycles(demand: &Demand, tile: Tile, splits: usize, architecture: &Architecture) -> f64 {
    let tiles_of = |problem: &Extent| {
        let (down, across) = tile.grid(problem.m, problem.n);
        down * across
    };
    let tiles: usize = demand.problems.iter().map(tiles_of).sum();
    let processors = architecture.multiprocessors.max(1) as usize;
    let blocks_each = (tiles * splits).div_ceil(processors).max(1);
    let at_once = blocks_each.min(tile.resident(architecture));
    let (alone, together) = tile.efficiency();
    let efficiency = if at_once == tile.resident(architecture) { together } else { alone };
    let macs = (tile.rows() * tile.columns() * BLOCK_K) as f64;
    let slice = (at_once as f64 * macs / (MACS_A_CYCLE * efficiency)).max(SHORTEST_SLICE);
    let rounds = blocks_each as f64 / at_once as f64;
    let slices = longest(demand).div_ceil(splits) as f64;
    let product = rounds * slices * slice + rounds.ceil() * AROUND_THE_LOOP;
    if splits == 1 {
        return product;
    }
    let elements: usize = demand.problems.iter().map(|problem| problem.m * problem.n).sum();
    let bytes = (elements * splits * 2 * size_of::<f32>()) as f64;
    product + SECOND_LAUNCH + bytes / (BYTES_A_CYCLE * processors as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const H100: Architecture = Architecture { compute: 90, multiprocessors: 132, shared_memory: 227 << 10 };
    const A100: Architecture = Architecture { compute: 80, multiprocessors: 108, shared_memory: 163 << 10 };
    const RTX_4090: Architecture =
        Architecture { compute: 89, multiprocessors: 128, shared_memory: 99 << 10 };

    /// The sources of all kernels of matrix products.
    const SOURCES: [&str; 4] = [
        include_str!("../../../kernels/gemm_nt.cu"),
        include_str!("../../../kernels/gemm_nn.cu"),
        include_str!("../../../kernels/gemm_tn.cu"),
        include_str!("../../../kernels/gemm_column_dot.cu"),
    ];

    fn product(layout: Layout, m: usize, n: usize, k: usize) -> Demand {
        let splits = layout == Layout::Tn;
        Demand { layout, variant: Variant::Plain, problems: vec![Extent { m, n, k }], splits }
    }

    fn chosen(demand: &Demand, architecture: &Architecture) -> GemmConfig {
        choose(demand, architecture).0.unwrap()
    }

    #[test]
    fn every_configuration_has_a_kernel_with_its_tile() {
        for layout in [Layout::Nt, Layout::Nn, Layout::Tn] {
            for variant in [Variant::Plain, Variant::Dropout, Variant::ColumnDot] {
                for tile in TILES {
                    let Some(symbol) = symbol(layout, variant, tile) else { continue };
                    let definition = format!("KERNEL({symbol}, GemmParams, {}) {{", tile.threads());
                    let source = SOURCES.iter().find(|source| source.contains(&definition));
                    let source = source.unwrap_or_else(|| panic!("no source has `{definition}`"));
                    let body = source.split(&definition).nth(1).unwrap();
                    let (rows, columns, stages) = (tile.rows(), tile.columns(), tile.stages());
                    let body = body.split('}').next().unwrap();
                    assert!(body.contains(&format!("Tile<{rows}, {columns}, ")), "{symbol}: {body}");
                    assert!(body.contains(&format!(", {stages}>")), "{symbol}: {body}");
                }
            }
        }
    }

    #[test]
    fn every_demand_is_met_on_every_card_with_enough_shared_memory() {
        for architecture in [H100, A100, RTX_4090] {
            for layout in [Layout::Nt, Layout::Nn, Layout::Tn] {
                for size in [1, 63, 64, 65, 129, 5000] {
                    let demand = product(layout, size, 5001 - size, size);
                    let config = chosen(&demand, &architecture);
                    assert!(config.tile.shared_bytes() <= architecture.shared_memory);
                    assert_eq!(symbol(layout, Variant::Plain, config.tile), Some(config.symbol));
                }
            }
        }
    }

    #[test]
    fn large_products_get_large_tiles_and_small_ones_small_tiles() {
        let large = product(Layout::Nt, 8192, 8192, 8192);
        assert_eq!(chosen(&large, &H100).tile, Tile::M128N256);
        // 57 columns of the smaller tile: the larger one would leave half of its last column and more idle.
        let qkv = product(Layout::Nt, 4096, 7296, 2432 + 64);
        assert_eq!(chosen(&qkv, &H100).tile, Tile::M128N128);
        let modulation = product(Layout::Nt, 4, 2432, 2432);
        assert_eq!(chosen(&modulation, &H100).tile, Tile::M64N64);
    }

    #[test]
    fn sums_over_many_rows_are_split_where_few_tiles_would_leave_processors_idle() {
        let da = product(Layout::Tn, 64, 2432, 4429);
        let config = chosen(&da, &H100);
        let (down, across) = config.tile.grid(64, 2432);
        assert!(config.splits > 1, "{config:?}");
        assert!(down * across * config.splits >= 132, "{config:?}");
        let whole = Demand { splits: false, ..da };
        assert_eq!(chosen(&whole, &H100).splits, 1);
    }

    #[test]
    fn each_rejected_candidate_says_why() {
        let little = Architecture { shared_memory: 48 << 10, ..H100 };
        let (config, rejected) = choose(&product(Layout::Nt, 4096, 4096, 4096), &little);
        assert_eq!(config.map(|config| config.tile), Some(Tile::M64N64));
        assert_eq!(rejected.len(), 2);
        assert!(rejected.iter().all(|r| r.reason.contains("bytes of shared memory")), "{rejected:?}");
        let (config, rejected) = choose(&product(Layout::Tn, 2432, 2432, 4096), &H100);
        assert_eq!(config.map(|config| config.tile), Some(Tile::M128N128));
        assert!(rejected.iter().any(|r| r.reason == "there is no such kernel"), "{rejected:?}");
        assert!(rejected.iter().any(|r| r.reason.starts_with("about ")), "{rejected:?}");
        let none = Architecture { shared_memory: 16 << 10, ..H100 };
        assert_eq!(choose(&product(Layout::Nt, 1, 1, 1), &none).0, None);
    }
}
