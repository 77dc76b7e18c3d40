// GroupNorm of channels-last pictures. Statistics are over all pixels of a group of channels, in two stages.
//
// First a block has a band of pixels and a strip of channels. A thread has eight channels (four of f32; one, where
// they are not aligned) of every so-manieth pixel; it adds a few values about the first of them in f32, so that nothing cancels
// however far from zero they lie, and gathers such sums in f64. Then a block has a group: it adds the bands of its
// channels. No order depends on anything but the shape.
#include "device/device.cuh"
#include "group_norm.h"
#include "norm.cuh"

namespace group_norm {

constexpr int THREADS = GROUP_NORM_THREADS;
// Pixels between two additions in f64.
constexpr int RUN = 16;

// Sum and sum of squares of one channel.
struct Sums {
  double sum, squares;
};

// Adds `count` values around `origin` whose differences from it have these sums.
DEVICE void add(Sums& to, double origin, double count, double differences, double squares) {
  to.sum += count * origin + differences;
  to.squares += origin * (count * origin + 2.0 * differences) + squares;
}

// Adds WIDTH channels of the pixels from `first` on, every `stride`th before `end`.
template <int WIDTH, typename T>
DEVICE void add_pixels(Sums (&sums)[WIDTH], const T* x, uint32_t channels, uint64_t first, uint64_t end,
                       uint64_t stride) {
  for (uint64_t pixel = first; pixel < end;) {
    Vector<T, WIDTH> values;
    values.load(x + pixel * channels);
    float origin[WIDTH], differences[WIDTH] = {}, squares[WIDTH] = {};
#pragma unroll
    for (int i = 0; i < WIDTH; ++i) origin[i] = float(values[i]);
    int count = 1;
    pixel += stride;
#pragma unroll 4
    for (; count < RUN && pixel < end; ++count, pixel += stride) {
      values.load(x + pixel * channels);
#pragma unroll
      for (int i = 0; i < WIDTH; ++i) {
        const float difference = float(values[i]) - origin[i];
        differences[i] += difference;
        squares[i] += difference * difference;
      }
    }
#pragma unroll
    for (int i = 0; i < WIDTH; ++i) add(sums[i], origin[i], count, differences[i], squares[i]);
  }
}

// The first stage of a block; `scratch` is shared memory for a thread's sums each.
template <typename T, int WIDTH>
DEVICE void sum_band(const GroupStatisticsParams& p, Sums* scratch) {
  const uint32_t columns = (p.channels + WIDTH - 1) / WIDTH;
  const uint32_t strip = min(columns - grid::block_x() * THREADS, uint32_t(THREADS));
  const uint32_t rows = THREADS / strip;
  const uint32_t column = block::thread() % strip, row = block::thread() / strip;
  const uint32_t channel = (grid::block_x() * THREADS + column) * WIDTH;
  const uint64_t picture = grid::block_z();
  const uint64_t first = grid::block_y() * p.band, end = min(first + p.band, p.area);
  Sums sums[WIDTH] = {};
  if (row < rows) {
    const T* x = static_cast<const T*>(p.x) + picture * p.area * p.channels + channel;
    add_pixels(sums, x, p.channels, first + row, end, rows);
  }
  double* out = p.sums + ((picture * p.bands + grid::block_y()) * p.channels + channel) * 2;
#pragma unroll
  for (int i = 0; i < WIDTH; ++i) {
    block::sync();
    scratch[block::thread()] = sums[i];
    block::sync();
    if (row > 0) continue;
    Sums total = scratch[column];
    for (uint32_t r = 1; r < rows; ++r) {
      total.sum += scratch[r * strip + column].sum;
      total.squares += scratch[r * strip + column].squares;
    }
    out[i * 2] = total.sum;
    out[i * 2 + 1] = total.squares;
  }
}

// Eight elements of a picture, or one.
template <typename T, int WIDTH>
DEVICE void normalise(const GroupNormParams& p) {
  const uint64_t first = (uint64_t(grid::block_x()) * THREADS + block::thread()) * WIDTH;
  if (first >= p.elements) return;
  const uint64_t picture = grid::block_y();
  const Norm<WIDTH> norm(p.norm, picture, uint32_t(first % p.channels), p.channels);
  Vector<T, WIDTH> values;
  values.load(static_cast<const T*>(p.x) + picture * p.elements + first);
#pragma unroll
  for (int i = 0; i < WIDTH; ++i) values[i] = T(norm(i, float(values[i])));
  values.store(static_cast<T*>(p.y) + picture * p.elements + first);
}

// The first stage, sixteen bytes a thread where channels are aligned.
template <typename T>
DEVICE void sum_any_band(const GroupStatisticsParams& p, Sums* scratch) {
  constexpr int WIDTH = GROUP_NORM_WIDTH * sizeof(bf16) / sizeof(T);
  if (p.aligned) {
    sum_band<T, WIDTH>(p, scratch);
  } else {
    sum_band<T, 1>(p, scratch);
  }
}

}  // namespace group_norm

KERNEL(group_sums, GroupStatisticsParams, GROUP_NORM_THREADS) {
  SHARED(group_norm::Sums, scratch, GROUP_NORM_THREADS);
  group_norm::sum_any_band<bf16>(p, scratch);
}

KERNEL(group_sums_f32, GroupStatisticsParams, GROUP_NORM_THREADS) {
  SHARED(group_norm::Sums, scratch, GROUP_NORM_THREADS);
  group_norm::sum_any_band<float>(p, scratch);
}

KERNEL(group_statistics, GroupStatisticsParams, GROUP_NORM_THREADS) {
  const uint64_t picture = grid::block_y();
  const uint32_t width = p.channels / p.groups;
  const double* sums = p.sums + (picture * p.bands * p.channels + grid::block_x() * width) * 2;
  double sum = 0.0, squares = 0.0;
  for (uint64_t i = block::thread(); i < uint64_t(p.bands) * width; i += GROUP_NORM_THREADS) {
    const double* one = sums + (i / width * p.channels + i % width) * 2;
    sum += one[0];
    squares += one[1];
  }
  sum = block::sum(sum);
  squares = block::sum(squares);
  if (block::thread() != 0) return;
  const double count = double(p.area) * width;
  const double mean = sum / count;
  const double spread = squares / count - mean * mean;
  float* out = p.statistics + (picture * p.groups + grid::block_x()) * 2;
  out[0] = float(mean);
  out[1] = float(1.0 / math::sqrt((spread < 0.0 ? 0.0 : spread) + double(p.epsilon)));
}

KERNEL(group_norm_octets, GroupNormParams, GROUP_NORM_THREADS) { group_norm::normalise<bf16, GROUP_NORM_WIDTH>(p); }
KERNEL(group_norm_any, GroupNormParams, GROUP_NORM_THREADS) { group_norm::normalise<bf16, 1>(p); }
KERNEL(group_norm_octets_f32, GroupNormParams, GROUP_NORM_THREADS) { group_norm::normalise<float, GROUP_NORM_WIDTH>(p); }
KERNEL(group_norm_any_f32, GroupNormParams, GROUP_NORM_THREADS) { group_norm::normalise<float, 1>(p); }
