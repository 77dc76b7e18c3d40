// A linear layer whose activations stay f32: Y = f(X W^T + b), for frozen encoders.
//
// Tensor cores multiply bf16, so each x is taken apart into hi = bf16(x) and lo = bf16(x - hi), which together keep 16
// bits of it. Every slice of X passes twice, first its hi and then its lo part, each against the same slice of W, into
// the same f32 sums. W is bf16 as it is stored, so nothing else is rounded.
#include "device/device.cuh"
#include "gemm.h"
#include "gemm_kernel.cuh"
#include "gemm_exact.h"

namespace gemm_exact {

using gemm::BLOCK_K;
using gemm::CHUNK;
using gemm::Octet;
using Tile = gemm::Tile<64, 64, 4, 4>;

// Nothing is dropped.
struct KeepAll {
  static constexpr bool KEEPS_ALL = true;
  template <class Values>
  DEVICE void apply(Values&, uint32_t, uint32_t) const {}
};

// Eight values as bf16: their hi parts, or what those leave.
DEVICE Vector<bf16, CHUNK> part_of(const Octet& x, bool low) {
  Vector<bf16, CHUNK> part;
#pragma unroll
  for (int i = 0; i < CHUNK; ++i) {
    const bf16 high(x[i]);
    part[i] = low ? bf16(x[i] - float(high)) : high;
  }
  return part;
}

// Slices of X and W: slice 2 i has the hi parts of columns 32 i and on, slice 2 i + 1 the lo parts.
struct Source {
  using LayoutA = gemm::KContiguous<Tile::BLOCK_M>;
  using LoaderB = gemm::RowLoader<Tile, Tile::BLOCK_N, KeepAll>;
  using LayoutB = LoaderB::Layout;

  const GemmExactParams& p;
  const uint32_t row, column;
  uint32_t slice;

  DEVICE Source(const GemmExactParams& p, uint32_t row, uint32_t column)
      : p(p), row(row), column(column), slice(0) {}

  DEVICE void load(bf16* stage) {
    const uint32_t k = slice / 2 * BLOCK_K;
    load_x(stage, k, slice % 2 == 1);
    LoaderB w;
    w.open(p.w, p.k, column, 0, p.n, k);
    w.load(stage + Tile::A_ELEMENTS, p.k - k, p.vectors & GEMM_VECTOR_B, KeepAll());
    ++slice;
  }

  // The slice of X from column `k` on, zeros beyond its edges.
  DEVICE void load_x(bf16* to, uint32_t k, bool low) const {
    constexpr int CHUNKS = BLOCK_K / CHUNK;
#pragma unroll
    for (int i = 0; i < Tile::BLOCK_M * CHUNKS / Tile::THREADS; ++i) {
      const int index = i * Tile::THREADS + block::thread();
      const int local = index / CHUNKS, chunk = index % CHUNKS;
      const uint32_t end = row + local < p.m ? p.k : 0;
      const float* from = p.x + uint64_t(row + local) * p.k;
      const Octet x = gemm::load_octet<float>(from, k + chunk * CHUNK, end, p.vectors & GEMM_VECTOR_A);
      part_of(x, low).store(to + LayoutA::place(local, chunk));
    }
  }
};

// Finishes and writes an octet of Y.
DEVICE void store(Octet y, const GemmExactParams& p, uint32_t row, uint32_t column) {
  if (row >= p.m || column >= p.n) return;
  const bool vector = p.vectors & GEMM_VECTOR_C;
  if (p.bias) {
    const Octet bias = gemm::load_octet<bf16>(p.bias, column, p.n, vector);
#pragma unroll
    for (int i = 0; i < CHUNK; ++i) y[i] += bias[i];
  }
  gemm::activate(y, p.epilogue);
  gemm::store_octet<float>(p.y + uint64_t(row) * p.n, column, p.n, vector, y);
}

}  // namespace gemm_exact

// Tiles of rows are blocks in x, which may be many; tiles of columns are blocks in y.
KERNEL(gemm_exact_64x64, GemmExactParams, 128) {
  using namespace gemm_exact;
  DYNAMIC_SHARED(shared);
  bf16* ring = reinterpret_cast<bf16*>(shared);
  Source source(p, grid::block_x() * Tile::BLOCK_M, grid::block_y() * Tile::BLOCK_N);
  gemm::Sums<Tile> sums;
  sums.clear();
  const int slices = 2 * int((p.k + BLOCK_K - 1) / BLOCK_K);
  gemm::mainloop<Tile>(sums, source, ring, slices, [](int) {});
  gemm::for_each_octet<Tile>(sums, ring, source.row, source.column,
                             [&](uint32_t row, uint32_t column, const Octet& y) { store(y, p, row, column); });
}
