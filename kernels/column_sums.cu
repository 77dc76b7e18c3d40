// The second stage of sums over the rows of each sample: adds the bands, in order, and puts the sums into their chunks
// of the modulation vectors' gradient. A thread has one element of it.
#include "column_sums.cuh"

KERNEL(add_column_sums, ColumnSumsParams, COLUMN_SUMS_THREADS) {
  const uint32_t element = grid::block_x() * COLUMN_SUMS_THREADS + block::thread();
  const uint64_t sample = grid::block_y();
  if (element >= p.length) return;
  float value = 0.0f;
  bool summed = false;
  for (uint32_t s = 0; s < p.sums; ++s) {
    // Elements before the chunk wrap around to large columns.
    const uint32_t column = element - p.chunks[s] * p.columns;
    if (column >= p.columns) continue;
    const float* first = p.partials + (sample * p.bands * p.sums + s) * p.columns + column;
    value += column_sums::over_bands(first, p.bands, uint64_t(p.sums) * p.columns);
    summed = true;
  }
  bf16& out = p.out[sample * p.length + element];
  if (!p.accumulates) {
    out = bf16(value);
  } else if (summed) {
    out = bf16(float(out) + value);
  }
}
