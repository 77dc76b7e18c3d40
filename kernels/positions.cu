// Adds every token's position to it, on top of x. Warps share the rows in pieces.
#include "positions.h"
#include "rows.cuh"

KERNEL(add_positions, AddPositionsParams, rows::THREADS) {
  rows::segment(p.rows, p.columns, p.aligned, [&](uint32_t index, uint32_t first, const auto& row) {
    bf16* x = p.x + uint64_t(index) * p.columns + first;
    const bf16* position = p.positions + uint64_t(index % p.tokens) * p.columns + first;
    row.write(x, [](float x, float position) { return x + position; }, row.keep(x), row.keep(position));
  });
}
