// Adds every token's position to it, on top of x. Warps share the rows in pieces.
#include "positions.h"
#include "rows.cuh"

template <typename T>
DEVICE void add_positions(const AddPositionsParams& p) {
  rows::segment(p.rows, p.columns, p.aligned, [&](uint32_t index, uint32_t first, const auto& row) {
    T* x = static_cast<T*>(p.x) + uint64_t(index) * p.columns + first;
    const bf16* position = p.positions + uint64_t(index % p.tokens) * p.columns + first;
    row.write(x, [](float x, float position) { return x + position; }, row.keep(x), row.keep(position));
  });
}

KERNEL(add_positions_bf16, AddPositionsParams, rows::THREADS) { add_positions<bf16>(p); }
KERNEL(add_positions_f32, AddPositionsParams, rows::THREADS) { add_positions<float>(p); }
