// Products of columns with columns, summed over rows: dA = dH^T dropout(X), dB = s (scale * dY)^T H,
// dW = (scale * dY)^T X, in f32.
//
// C is small and k, the rows of X, is long; so k is split over blocks and gemm_reduce.cu adds up their sums in order.
#include "device/device.cuh"
#include "gemm.h"
#include "gemm_kernel.cuh"

namespace gemm {

template <class Tile, class Mask>
DEVICE void weight_gradient(const GemmParams& p, bf16* ring) {
  using Source = SourceTN<Tile, Mask>;
  product<Tile, Source>(p, ring, [&](const GemmProblem& problem, uint32_t row, uint32_t column, Octet dw) {
    store_sums(dw, p, problem, row, column);
  });
}

}  // namespace gemm

KERNEL(gemm_tn_128x128, GemmParams, 128) {
  DYNAMIC_SHARED(ring);
  gemm::weight_gradient<gemm::Tile<128, 128, 2, 4>, gemm::KeepAll>(p, reinterpret_cast<bf16*>(ring));
}

KERNEL(gemm_tn_64x64, GemmParams, 128) {
  DYNAMIC_SHARED(ring);
  gemm::weight_gradient<gemm::Tile<64, 64, 4, 4>, gemm::KeepAll>(p, reinterpret_cast<bf16*>(ring));
}

KERNEL(gemm_tn_64x64_dropout, GemmParams, 128) {
  DYNAMIC_SHARED(ring);
  gemm::weight_gradient<gemm::Tile<64, 64, 4, 4>, gemm::Dropout>(p, reinterpret_cast<bf16*>(ring));
}
