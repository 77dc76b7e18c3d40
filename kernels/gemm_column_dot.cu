// d scale = the sum over rows of dY (X W^T + s H B^T): a product whose tiles are multiplied with dY's and summed over
// their rows at once, so that Y before its scale is never written. gemm_reduce.cu adds up the rows of tiles.
#include "device/device.cuh"
#include "gemm.h"
#include "gemm_kernel.cuh"

namespace gemm {

// Adds up the octets of the lanes that have the same columns, then those of the block's warps, in order, and writes
// them as the partial sums of this row of tiles.
template <class Tile>
DEVICE void store_column_sums(Octet sums, const GemmProblem& problem, float* scratch, uint32_t tile,
                                  uint32_t column) {
  const int lane = warp::lane();
#pragma unroll
  for (int i = 0; i < CHUNK; ++i) {
    sums[i] += warp::shuffle_xor(sums[i], 8);
    sums[i] += warp::shuffle_xor(sums[i], 16);
    if (lane < 8) scratch[warp::index() * Tile::WARP_N + lane * CHUNK + i] = sums[i];
  }
  block::sync();
  const int thread = block::thread();
  if (thread >= Tile::BLOCK_N || column + thread >= problem.n) return;
  float sum = 0.0f;
  for (int warp = 0; warp < Tile::WARPS_M; ++warp)
    sum += scratch[(thread / Tile::WARP_N * Tile::WARPS_M + warp) * Tile::WARP_N + thread % Tile::WARP_N];
  problem.partials[uint64_t(tile) * problem.n + column + thread] = sum;
}

template <class Tile>
DEVICE void column_dot(const GemmParams& p, bf16* ring) {
  const auto tile = tile_schedule::locate(p, grid::block_x());
  const GemmProblem& problem = p.problems[tile.problem];
  SourceNT<Tile> source(p, problem, tile.m * Tile::BLOCK_M, tile.n * Tile::BLOCK_N);
  Sums<Tile> sums;
  sum_up<Tile>(sums, source, ring);
  Octet dot = {};
  for_each_octet<Tile>(sums, ring, source.row, source.column, [&](uint32_t row, uint32_t column, const Octet& y) {
    if (row >= problem.m) return;
    const bool vector = problem.vectors & GEMM_VECTOR_C;
    const Octet dy = load_octet<bf16>(problem.dout + uint64_t(row) * problem.ldc, column, problem.n, vector);
#pragma unroll
    for (int i = 0; i < CHUNK; ++i) dot[i] += y[i] * dy[i];
  });
  block::sync();
  store_column_sums<Tile>(dot, problem, reinterpret_cast<float*>(ring), tile.m, source.column);
}

}  // namespace gemm

KERNEL(gemm_nt_64x64_column_dot, GemmParams, 128) {
  DYNAMIC_SHARED(ring);
  gemm::column_dot<gemm::Tile<64, 64, 4, 4>>(p, reinterpret_cast<bf16*>(ring));
}
