// One row of each sample: y[b] = x[b, chosen[b]]. A row that does not exist is not a number, so that nobody takes it
// for a result. Warps share the rows in pieces.
#include "gather_rows.h"
#include "rows.cuh"

constexpr float NOT_A_NUMBER = __builtin_nanf("");

template <typename T>
DEVICE void gather(const GatherRowsParams& p) {
  rows::segment(p.samples, p.columns, p.aligned, [&](uint32_t sample, uint32_t first, const auto& row) {
    const uint32_t chosen = uint32_t(p.chosen[sample]);
    const bool exists = chosen < p.tokens;
    const uint64_t from = uint64_t(sample) * p.tokens + (exists ? chosen : 0);
    const auto x = row.keep(static_cast<const T*>(p.x) + from * p.columns + first);
    T* y = static_cast<T*>(p.y) + uint64_t(sample) * p.columns + first;
    row.write(y, [=](float x) { return exists ? x : NOT_A_NUMBER; }, x);
  });
}

KERNEL(gather_rows, GatherRowsParams, rows::THREADS) { gather<bf16>(p); }
KERNEL(gather_rows_f32, GatherRowsParams, rows::THREADS) { gather<float>(p); }
