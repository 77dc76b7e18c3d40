// Products of rows with columns: dX (+)= (scale * dY) W + dH A in one K loop, and dH = s (scale * dY) B.
//
// With dropout each adapter's dH A passes through its own mask before it is added, in a launch of its own.
#include "device/device.cuh"
#include "gemm.h"
#include "gemm_kernel.cuh"

namespace gemm {

template <class Tile, class Mask>
DEVICE void input_gradient(const GemmParams& p, bf16* ring) {
  product<Tile, SourceNN<Tile>>(p, ring, [&](const GemmProblem& problem, uint32_t row, uint32_t column, Octet dx) {
    store_gradient(dx, problem, row, column, Mask(p, problem));
  });
}

}  // namespace gemm

KERNEL(gemm_nn_128x256, GemmParams, 256) {
  DYNAMIC_SHARED(ring);
  gemm::input_gradient<gemm::Tile<128, 256, 2, 3>, gemm::KeepAll>(p, reinterpret_cast<bf16*>(ring));
}

KERNEL(gemm_nn_128x128, GemmParams, 128) {
  DYNAMIC_SHARED(ring);
  gemm::input_gradient<gemm::Tile<128, 128, 2, 4>, gemm::KeepAll>(p, reinterpret_cast<bf16*>(ring));
}

KERNEL(gemm_nn_64x64, GemmParams, 128) {
  DYNAMIC_SHARED(ring);
  gemm::input_gradient<gemm::Tile<64, 64, 4, 4>, gemm::KeepAll>(p, reinterpret_cast<bf16*>(ring));
}

KERNEL(gemm_nn_64x64_dropout, GemmParams, 128) {
  DYNAMIC_SHARED(ring);
  gemm::input_gradient<gemm::Tile<64, 64, 4, 4>, gemm::Dropout>(p, reinterpret_cast<bf16*>(ring));
}
