// Products of rows with rows: Y = epilogue(scale * (X W^T + s H B^T) + b), and H = X A^T.
//
// A linear layer's K loop runs first through the ranks of the adapters whose columns the tile has, multiplies those
// sums by s in f32, and runs on through the frozen weight. So Y is rounded once, and an adapter's share not before it
// is part of Y.
#include "device/device.cuh"
#include "gemm.h"
#include "gemm_kernel.cuh"

namespace gemm {

template <class Tile>
DEVICE void linear(const GemmParams& p, bf16* ring) {
  product<Tile, SourceNT<Tile>>(p, ring, [&](const GemmProblem& problem, uint32_t row, uint32_t column, Octet y) {
    store_linear(y, p, problem, row, column);
  });
}

// H = 1 / (1 - probability) * dropout(X) A^T, a problem for each adapter.
template <class Tile>
DEVICE void dropped_down(const GemmParams& p, bf16* ring) {
  using Source = SourceNT<Tile, Dropout>;
  product<Tile, Source>(p, ring, [&](const GemmProblem& problem, uint32_t row, uint32_t column, Octet h) {
    store_gradient(h, problem, row, column, KeepAll(p, problem));
  });
}

}  // namespace gemm

KERNEL(gemm_nt_128x256, GemmParams, 256) {
  DYNAMIC_SHARED(ring);
  gemm::linear<gemm::Tile<128, 256, 2, 3>>(p, reinterpret_cast<bf16*>(ring));
}

KERNEL(gemm_nt_128x128, GemmParams, 128) {
  DYNAMIC_SHARED(ring);
  gemm::linear<gemm::Tile<128, 128, 2, 4>>(p, reinterpret_cast<bf16*>(ring));
}

KERNEL(gemm_nt_64x64, GemmParams, 128) {
  DYNAMIC_SHARED(ring);
  gemm::linear<gemm::Tile<64, 64, 4, 4>>(p, reinterpret_cast<bf16*>(ring));
}

KERNEL(gemm_nt_64x64_dropout, GemmParams, 128) {
  DYNAMIC_SHARED(ring);
  gemm::dropped_down<gemm::Tile<64, 64, 4, 4>>(p, reinterpret_cast<bf16*>(ring));
}
