// Sums over the rows of a tensor, column by column, in two stages and always in the same order.
//
// The first stage cuts the rows into bands and the columns into strips: a block sums one band of
// one strip. A group of lanes has a row at a time, every lane the same columns throughout, so that sums stay in
// registers; the block adds its groups' sums through shared memory. The second stage adds the bands.
#pragma once
#include "column_sums.h"
#include "device/device.cuh"

namespace column_sums {

constexpr int THREADS = COLUMN_SUMS_THREADS;

// Writes partials [samples, bands, SUMS, columns] of a grid of (strips, bands, samples), where a sample has `rows`
// rows and a band `band_rows`. add(sums, row, column) adds the terms of WIDTH columns of a row, counted over all
// samples, to sums[SUMS][WIDTH].
template <int SUMS, int LANES, int WIDTH, typename F>
DEVICE void band(float* partials, uint32_t rows, uint32_t band_rows, uint32_t columns, F add) {
  constexpr int GROUPS = THREADS / LANES;
  constexpr int STRIP = LANES * WIDTH;
  SHARED(float, shared, GROUPS * SUMS * STRIP);
  const uint32_t group = block::thread() / LANES;
  const uint32_t lane = block::thread() % LANES;
  const uint32_t first_column = grid::block_x() * STRIP;
  const uint32_t first_row = grid::block_y() * band_rows;
  const uint32_t end = min(first_row + band_rows, rows);
  const uint64_t sample = grid::block_z();

  float sums[SUMS][WIDTH] = {};
  if (first_column + lane * WIDTH < columns) {
#pragma unroll 4
    for (uint32_t row = first_row + group; row < end; row += GROUPS) {
      add(sums, sample * rows + row, first_column + lane * WIDTH);
    }
  }
#pragma unroll
  for (int s = 0; s < SUMS; ++s) {
#pragma unroll
    for (int e = 0; e < WIDTH; ++e) shared[(group * SUMS + s) * STRIP + lane * WIDTH + e] = sums[s][e];
  }
  block::sync();
  for (uint32_t i = block::thread(); i < SUMS * STRIP; i += THREADS) {
    const uint32_t s = i / STRIP;
    const uint32_t column = first_column + i % STRIP;
    if (column >= columns) continue;
    float total = 0.0f;
    for (int g = 0; g < GROUPS; ++g) total += shared[g * SUMS * STRIP + i];
    partials[((sample * grid::blocks_y() + grid::block_y()) * SUMS + s) * columns + column] = total;
  }
}

// The sum over a sample's bands for one column.
DEVICE float over_bands(const float* partials, uint32_t bands, uint64_t stride) {
  float total = 0.0f;
#pragma unroll 8
  for (uint32_t band = 0; band < bands; ++band) total += partials[band * stride];
  return total;
}

}  // namespace column_sums
