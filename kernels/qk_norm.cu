// RMSNorm of queries and keys, head by head: y = x w r with r = 1 / sqrt(mean(x^2) + eps), and its gradients:
// dx = r (dy w - x r^2 mean(dy w x)), dw = the sum over rows and heads of dy x r.
//
// A group of lanes has a head, eight columns a lane, so that a warp has several heads side by side; `any` gives a warp
// to a head of any size. Both norms work on top of what they are given.
#include "column_sums.cuh"
#include "qk_norm.h"
#include "rows.cuh"

constexpr float EPSILON = 1e-6f;

// The head of the thread's group: its gain and its place. Groups behind the last head have one without columns, so
// that every lane of a warp takes part in its sums.
struct Head {
  const bf16* weight;
  uint64_t at;
  uint32_t columns;
};

template <int LANES>
DEVICE Head head(const QkNormParams& p) {
  const uint32_t heads = p.heads * p.part_count;
  const uint32_t row = rows::index<LANES>() / heads;
  const uint32_t within = rows::index<LANES>() - row * heads;
  const bool second = within >= p.heads;
  const QkNormPart& part = p.parts[second];
  const uint64_t first = part.first + (second ? within - p.heads : within) * uint64_t(p.head_dim);
  return {part.weight, row * uint64_t(p.columns) + first, row < p.rows ? p.head_dim : 0};
}

template <class Row>
DEVICE void normalise(const QkNormParams& p) {
  const Head h = head<Row::LANES>(p);
  const Row row(h.columns);
  const auto x = row.keep(p.qkv + h.at);
  const float r = rows::reciprocal_rms(row, x, EPSILON);
  row.write(p.qkv + h.at, [=](float x, float w) { return x * r * w; }, x, row.stream(h.weight));
}

template <class Row>
DEVICE void normalise_gradient(const QkNormParams& p) {
  const Head h = head<Row::LANES>(p);
  const Row row(h.columns);
  const auto x = row.keep(p.x + h.at);
  const auto dy = row.keep(p.qkv + h.at);
  const auto w = row.stream(h.weight);
  const float r = rows::reciprocal_rms(row, x, EPSILON);
  const float along = row.mean([](float dy, float w, float x) { return dy * w * x; }, dy, w, x) * r * r;
  row.write(p.qkv + h.at, [=](float dy, float w, float x) { return r * (dy * w - x * along); }, dy, w, x);
}

KERNEL(qk_norm_32, QkNormParams, rows::THREADS) { normalise<rows::Held<32, 4>>(p); }
KERNEL(qk_norm_64, QkNormParams, rows::THREADS) { normalise<rows::Held<64, 8>>(p); }
KERNEL(qk_norm_128, QkNormParams, rows::THREADS) { normalise<rows::Held<128, 16>>(p); }
KERNEL(qk_norm_any, QkNormParams, rows::THREADS) { normalise<rows::Streamed<1>>(p); }

KERNEL(qk_norm_gradient_32, QkNormParams, rows::THREADS) { normalise_gradient<rows::Held<32, 4>>(p); }
KERNEL(qk_norm_gradient_64, QkNormParams, rows::THREADS) { normalise_gradient<rows::Held<64, 8>>(p); }
KERNEL(qk_norm_gradient_128, QkNormParams, rows::THREADS) { normalise_gradient<rows::Held<128, 16>>(p); }
KERNEL(qk_norm_gradient_any, QkNormParams, rows::THREADS) { normalise_gradient<rows::Streamed<1>>(p); }

// r of every head of one part.
KERNEL(qk_norm_reciprocal_rms, QkNormWeightGradientParams, rows::THREADS) {
  const uint32_t index = rows::index<32>();
  if (index >= p.rows * p.heads) return;
  const rows::Streamed<1> row(p.head_dim);
  const uint64_t at = index / p.heads * p.columns + index % p.heads * uint64_t(p.head_dim);
  const float r = rows::reciprocal_rms(row, row.keep(p.x + at), EPSILON);
  if (warp::lane() == 0) p.reciprocal_rms[index] = r;
}

template <int WIDTH>
DEVICE void weight_gradient(const QkNormWeightGradientParams& p) {
  const auto add = [&](auto& sums, uint64_t index, uint32_t column) {
    const uint32_t row = uint32_t(index) / p.heads;
    const uint64_t at = row * p.columns + (uint32_t(index) - row * p.heads) * uint64_t(p.head_dim) + column;
    const float r = p.reciprocal_rms[index];
    const auto x = load<WIDTH>(p.x + at);
    const auto dy = load<WIDTH>(p.dy + at);
#pragma unroll
    for (int e = 0; e < WIDTH; ++e) sums[0][e] += float(dy[e]) * float(x[e]) * r;
  };
  column_sums::band<1, 8, WIDTH>(p.partials, p.rows * p.heads, p.band_rows, p.head_dim, add);
}

// Partial sums of dw over bands of heads.
KERNEL(qk_norm_weight_gradient, QkNormWeightGradientParams, COLUMN_SUMS_THREADS) {
  if (p.aligned) {
    weight_gradient<8>(p);
  } else {
    weight_gradient<1>(p);
  }
}

// dw from its partial sums; a thread has one element.
KERNEL(qk_norm_weight_gradient_sum, QkNormWeightGradientParams, COLUMN_SUMS_THREADS) {
  const uint32_t column = grid::block_x() * COLUMN_SUMS_THREADS + block::thread();
  if (column >= p.head_dim) return;
  const float sum = column_sums::over_bands(p.partials + column, p.bands, p.head_dim);
  p.dweight[column] = p.accumulates ? p.dweight[column] + sum : sum;
}
