// A block of a matrix product: its tile, its sums, and where they go. gemm_nt.cu, gemm_nn.cu and gemm_tn.cu are made
// of this with different operands.
#pragma once
#include "device/device.cuh"
#include "gemm.h"
#include "gemm_epilogue.cuh"
#include "gemm_mainloop.cuh"
#include "gemm_source.cuh"
#include "tile_schedule.cuh"

namespace gemm {

// Where the operands lie: k next to k (rows), or outer next to outer (columns).
template <class Tile, class MaskA = KeepAll>
using SourceNT = SegmentSource<Tile, RowLoader<Tile, Tile::BLOCK_M, MaskA>, RowLoader<Tile, Tile::BLOCK_N, KeepAll>,
                               MaskA, KeepAll>;
template <class Tile>
using SourceNN = SegmentSource<Tile, RowLoader<Tile, Tile::BLOCK_M, KeepAll>,
                               ColumnLoader<Tile, Tile::BLOCK_N, KeepAll>, KeepAll, KeepAll>;
template <class Tile, class MaskB = KeepAll>
using SourceTN = SegmentSource<Tile, ColumnLoader<Tile, Tile::BLOCK_M, KeepAll>,
                               ColumnLoader<Tile, Tile::BLOCK_N, MaskB>, KeepAll, MaskB>;

// Sums up the tile's share of k, block_y being the split; sums of scaled segments come first and are scaled in f32.
template <class Tile, class Source>
DEVICE void sum_up(Sums<Tile>& sums, Source& source, bf16* ring) {
  const GemmProblem& problem = source.problem;
  const uint32_t all = source.slices_before(problem.segments);
  const uint32_t scaled = source.slices_before(problem.scaled_segments);
  const uint32_t share = problem.slices_a_split;
  const uint32_t first = min(all, share * grid::block_y());
  const uint32_t count = min(all - first, share);
  source.skip(first);
  sums.clear();
  mainloop<Tile>(sums, source, ring, int(count), [&](int slice) {
    if (scaled > 0 && uint32_t(slice) == scaled) scale_segments<Tile>(sums, source.p, problem, source.column);
  });
  if (scaled > 0 && scaled == count) scale_segments<Tile>(sums, source.p, problem, source.column);
}

// Computes the block's tile and calls `store(problem, row, column, octet)` for its octets, all lanes of a warp together
// and also beyond C; where k is split, writes this split's sums as f32 instead.
template <class Tile, class Source, class Store>
DEVICE void product(const GemmParams& p, bf16* ring, Store&& store) {
  const auto tile = tile_schedule::locate(p, grid::block_x());
  const GemmProblem& problem = p.problems[tile.problem];
  Source source(p, problem, tile.m * Tile::BLOCK_M, tile.n * Tile::BLOCK_N);
  Sums<Tile> sums;
  sum_up<Tile>(sums, source, ring);
  if (p.splits == 1) {
    for_each_octet<Tile>(sums, ring, source.row, source.column,
                         [&](uint32_t row, uint32_t column, const Octet& octet) { store(problem, row, column, octet); });
    return;
  }
  float* partials = problem.partials + uint64_t(grid::block_y()) * problem.m * problem.n;
  for_each_octet<Tile>(sums, ring, source.row, source.column, [&](uint32_t row, uint32_t column, const Octet& octet) {
    float* at = partials + uint64_t(row) * problem.n;
    if (row < problem.m) store_octet<float>(at, column, problem.n, problem.n % CHUNK == 0, octet);
  });
}

}  // namespace gemm
