// x + gate * y with one gate vector a sample, and its gradients: dy = gate * dx, d gate = the sum over the sample's
// rows of dx y. Warps share the rows in pieces; the sum takes two stages.
#include "column_sums.cuh"
#include "gated_residual.h"
#include "rows.cuh"

template <typename T>
DEVICE void gated_residual(const GatedResidualParams& p) {
  rows::segment(p.rows, p.columns, p.aligned, [&](uint32_t index, uint32_t first, const auto& row) {
    const uint64_t at = uint64_t(index) * p.columns + first;
    T* x = static_cast<T*>(p.out) + at;
    const auto gate = row.stream(p.gate + index / p.tokens * p.gate_stride + first);
    const auto sum = [](float x, float gate, float y) { return x + gate * y; };
    row.write(x, sum, row.keep(x), gate, row.keep(p.in + at));
  });
}

KERNEL(gated_residual_bf16, GatedResidualParams, rows::THREADS) { gated_residual<bf16>(p); }
KERNEL(gated_residual_f32, GatedResidualParams, rows::THREADS) { gated_residual<float>(p); }

KERNEL(gated_residual_gradient, GatedResidualParams, rows::THREADS) {
  rows::segment(p.rows, p.columns, p.aligned, [&](uint32_t index, uint32_t first, const auto& row) {
    const uint64_t at = uint64_t(index) * p.columns + first;
    const auto gate = row.stream(p.gate + index / p.tokens * p.gate_stride + first);
    bf16* dy = static_cast<bf16*>(p.out) + at;
    row.write(dy, [](float gate, float dx) { return gate * dx; }, gate, row.keep(p.in + at));
  });
}

template <int WIDTH>
DEVICE void gate_gradient(const GateGradientParams& p) {
  const auto add = [&](auto& sums, uint64_t row, uint32_t column) {
    const auto y = load<WIDTH>(p.y + row * p.columns + column);
    const auto dx = load<WIDTH>(p.dx + row * p.columns + column);
#pragma unroll
    for (int e = 0; e < WIDTH; ++e) sums[0][e] += float(y[e]) * float(dx[e]);
  };
  column_sums::band<1, 32, WIDTH>(p.partials, p.tokens, p.band_rows, p.columns, add);
}

KERNEL(gate_gradient, GateGradientParams, COLUMN_SUMS_THREADS) {
  if (p.aligned) {
    gate_gradient<8>(p);
  } else {
    gate_gradient<1>(p);
  }
}
