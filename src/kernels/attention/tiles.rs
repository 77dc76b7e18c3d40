//! Which kernel serves which heads on which card: a choice by shape alone.

use crate::device::cuda::Architecture;
use crate::error::{Error, Result};

/// What decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wanted {
    /// Columns of a head.
    pub head_dim: usize,
    /// Whether scores are masked.
    pub masked: bool,
    /// Whether every head's part of a row starts at a multiple of sixteen bytes.
    pub aligned: bool,
}

/// One kernel, whose blocks take a tile of queries, or of keys, of one head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tile {
    /// The kernel's symbol.
    pub symbol: &'static str,
    /// Queries or keys of a block.
    pub rows: usize,
    /// Threads of a block.
    pub threads: u32,
    /// Bytes of dynamic shared memory of a block.
    pub shared_bytes: u32,
}

/// What the kernels of one width can do.
#[derive(Debug, Clone, Copy)]
struct Form<T> {
    /// Columns of the widest head.
    head_dim: usize,
    /// Whether it masks.
    masks: bool,
    /// Whether it needs alignment.
    needs_alignment: bool,
    tiles: T,
}

/// The kernels of the backward pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Backward {
    /// dK and dV.
    pub keys: Tile,
    /// dQ.
    pub queries: Tile,
}

/// Bytes of a tile of `rows` rows of `columns` bf16.
const fn bytes(rows: u32, columns: u32) -> u32 {
    rows * columns * 2
}

/// Bytes of the biases by distance.
const BIASES: u32 = 256 * 4;

/// Bytes of two tiles of 32 queries' statistics.
const STATISTICS: u32 = 2 * 32 * 8;

/// From the fastest for its heads to the one that takes any.
const FORWARD: [Form<Tile>; 5] = [
    Form {
        head_dim: 64,
        masks: false,
        needs_alignment: true,
        tiles: Tile {
            symbol: "attention_forward_d64",
            rows: 128,
            threads: 128,
            shared_bytes: bytes(128 + 4 * 64, 64),
        },
    },
    Form {
        head_dim: 64,
        masks: true,
        needs_alignment: true,
        tiles: Tile {
            symbol: "attention_forward_d64_masked",
            rows: 128,
            threads: 128,
            shared_bytes: bytes(128 + 4 * 64, 64) + BIASES,
        },
    },
    Form {
        head_dim: 128,
        masks: true,
        needs_alignment: false,
        tiles: Tile {
            symbol: "attention_forward_d128",
            rows: 64,
            threads: 128,
            shared_bytes: bytes(64 + 4 * 64, 128) + BIASES,
        },
    },
    Form {
        head_dim: 512,
        masks: false,
        needs_alignment: true,
        tiles: Tile {
            symbol: "attention_forward_d512",
            rows: 64,
            threads: 256,
            shared_bytes: bytes(64, 512) + bytes(2 * 64, 128),
        },
    },
    Form {
        head_dim: 512,
        masks: true,
        needs_alignment: false,
        tiles: Tile {
            symbol: "attention_forward_d512_masked",
            rows: 64,
            threads: 256,
            shared_bytes: bytes(64, 512) + bytes(2 * 32, 128) + BIASES,
        },
    },
];

const BACKWARD: [Form<Backward>; 2] = [
    Form {
        head_dim: 64,
        masks: false,
        needs_alignment: true,
        tiles: Backward {
            keys: Tile {
                symbol: "attention_backward_keys_d64",
                rows: 128,
                threads: 128,
                shared_bytes: bytes(2 * 128 + 4 * 32, 64) + STATISTICS,
            },
            queries: Tile {
                symbol: "attention_backward_queries_d64",
                rows: 128,
                threads: 128,
                shared_bytes: bytes(2 * 128 + 4 * 32, 64),
            },
        },
    },
    Form {
        head_dim: 128,
        masks: false,
        needs_alignment: false,
        tiles: Backward {
            keys: Tile {
                symbol: "attention_backward_keys_d128",
                rows: 64,
                threads: 128,
                shared_bytes: bytes(2 * 64 + 4 * 32, 128) + STATISTICS,
            },
            queries: Tile {
                symbol: "attention_backward_queries_d128",
                rows: 64,
                threads: 128,
                shared_bytes: bytes(2 * 64 + 4 * 32, 128),
            },
        },
    },
];

impl Tile {
    /// Blocks for streams of so many tokens: each starts with a block of its own.
    pub(super) fn blocks(&self, streams: impl Iterator<Item = usize>) -> usize {
        streams.map(|tokens| tokens.div_ceil(self.rows)).sum()
    }
}

/// The first of `forms` that does what is wanted.
fn first<T: Copy>(kernel: &str, forms: &[Form<T>], wanted: Wanted) -> Result<T> {
    let does = |form: &&Form<T>| {
        wanted.head_dim <= form.head_dim
            && (form.masks || !wanted.masked)
            && (wanted.aligned || !form.needs_alignment)
    };
    forms.iter().find(does).map(|form| form.tiles).ok_or_else(|| {
        let widest = forms.iter().map(|form| form.head_dim).max().unwrap_or_default();
        Error::shape(
            kernel,
            format!("heads have {} columns; at most {widest} are supported", wanted.head_dim),
        )
    })
}

/// Fails unless a block of `tile` finds its shared memory on the card.
fn fits(kernel: &str, tile: Tile, architecture: Architecture) -> Result<Tile> {
    if tile.shared_bytes <= architecture.shared_memory {
        return Ok(tile);
    }
    let Tile { symbol, shared_bytes, .. } = tile;
    let cause = format!(
        "{symbol} needs {shared_bytes} B of shared memory; a block has {}",
        architecture.shared_memory
    );
    Err(Error::shape(kernel, cause))
}

/// The forward kernel.
pub(super) fn forward(kernel: &str, wanted: Wanted, architecture: Architecture) -> Result<Tile> {
    fits(kernel, first(kernel, &FORWARD, wanted)?, architecture)
}

/// The backward kernels.
pub(super) fn backward(kernel: &str, wanted: Wanted, architecture: Architecture) -> Result<Backward> {
    let Backward { keys, queries } = first(kernel, &BACKWARD, wanted)?;
    Ok(Backward { keys: fits(kernel, keys, architecture)?, queries: fits(kernel, queries, architecture)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The card with the least shared memory.
    const SMALLEST: Architecture = Architecture { compute: 86, multiprocessors: 84, shared_memory: 99 << 10 };

    fn chosen(head_dim: usize, masked: bool, aligned: bool) -> &'static str {
        forward("Attention", Wanted { head_dim, masked, aligned }, SMALLEST).unwrap().symbol
    }

    #[test]
    fn every_head_has_the_narrowest_kernel_that_does_it() {
        assert_eq!(chosen(64, false, true), "attention_forward_d64");
        assert_eq!(chosen(16, true, true), "attention_forward_d64_masked");
        assert_eq!(chosen(12, false, false), "attention_forward_d128");
        assert_eq!(chosen(72, true, true), "attention_forward_d128");
        assert_eq!(chosen(512, false, true), "attention_forward_d512");
        assert_eq!(chosen(130, false, false), "attention_forward_d512_masked");
    }

    #[test]
    fn the_smallest_card_has_room_for_every_kernel() {
        let backward = BACKWARD.iter().flat_map(|form| [form.tiles.keys, form.tiles.queries]);
        for tile in FORWARD.iter().map(|form| form.tiles).chain(backward) {
            assert!(fits("Attention", tile, SMALLEST).is_ok(), "{tile:?}");
        }
    }

    #[test]
    fn what_no_kernel_does_is_refused_in_words() {
        let wide = Wanted { head_dim: 520, masked: false, aligned: true };
        let error = forward("Attention", wide, SMALLEST).unwrap_err().to_string();
        assert!(error.contains("520") && error.contains("512"), "{error}");
        let wide = Wanted { head_dim: 136, ..wide };
        assert!(backward("AttentionGradient", wide, SMALLEST).unwrap_err().to_string().contains("128"));
        let tiny = Architecture { shared_memory: 48 << 10, ..SMALLEST };
        let wide = Wanted { head_dim: 512, ..wide };
        assert!(forward("Attention", wide, tiny).unwrap_err().to_string().contains("shared memory"));
    }

    #[test]
    fn each_stream_starts_with_a_block_of_its_own() {
        let tile = FORWARD[0].tiles;
        assert_eq!(tile.blocks([129, 1, 128].into_iter()), 4);
    }
}
