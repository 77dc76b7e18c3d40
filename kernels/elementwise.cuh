// out[i] = f(a[i], b[i], ...) over any number of elements, in f32.
//
// A thread takes BATCH vectors of eight elements, a block's width apart so that a warp reads whole lines, and has all
// its loads under way before the first store: memory bandwidth is bytes in flight. Where an operand does not start at
// a multiple of sixteen bytes, the same runs with vectors of one element.
#pragma once
#include "device/device.cuh"
#include "traversal.h"
#include "vectors.cuh"

namespace elementwise {

constexpr int THREADS = ELEMENTWISE_THREADS;
constexpr int BATCH = ELEMENTWISE_BATCH;

// The part of one operand that a thread holds.
template <typename T, int WIDTH>
struct Part {
  Vector<T, WIDTH> vectors[BATCH];
};

// The thread's vector `i`, among all.
DEVICE uint64_t vector_index(int i) {
  return (uint64_t(grid::block_x()) * BATCH + i) * THREADS + block::thread();
}

// The thread's part of `from`, which has `count` vectors; what lies behind them is left open.
template <int WIDTH, typename T>
DEVICE Part<T, WIDTH> load(const T* from, uint64_t count) {
  Part<T, WIDTH> part;
#pragma unroll
  for (int i = 0; i < BATCH; ++i) {
    const uint64_t index = vector_index(i);
    if (index < count) part.vectors[i].load(from + index * WIDTH);
  }
  return part;
}

// Writes f of the operands' parts.
template <int WIDTH, typename T, typename F, typename... In>
DEVICE void store(T* out, uint64_t count, F f, const Part<In, WIDTH>&... in) {
#pragma unroll
  for (int i = 0; i < BATCH; ++i) {
    const uint64_t index = vector_index(i);
    if (index < count) vectors::map<T, WIDTH>(f, in.vectors[i]...).store(out + index * WIDTH);
  }
}

// out = f(in...), element by element; `out` may be one of the operands.
template <typename T, typename F, typename... In>
DEVICE void write(T* out, uint64_t elements, bool aligned, F f, const In*... in) {
  if (!aligned) {
    store<1>(out, elements, f, load<1>(in, elements)...);
    return;
  }
  store<8>(out, elements / 8, f, load<8>(in, elements / 8)...);
  // The first block does what is less than a vector.
  const uint64_t rest = elements / 8 * 8 + block::thread();
  if (grid::block_x() == 0 && rest < elements) out[rest] = T(f(float(in[rest])...));
}

}  // namespace elementwise
