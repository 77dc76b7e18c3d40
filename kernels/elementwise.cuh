// out[i] = f(a[i], b[i], ...) over any number of elements, in f32.
//
// A thread takes BATCH vectors of eight elements, a block's width apart so that a warp reads whole lines, and has all
// its loads under way before the first store: memory bandwidth is bytes in flight. Where an operand does not start at
// a multiple of sixteen bytes, the same runs element by element.
#pragma once
#include "device/device.cuh"
#include "traversal.h"

namespace elementwise {

constexpr int THREADS = ELEMENTWISE_THREADS;
constexpr int BATCH = ELEMENTWISE_BATCH;

// The part of one operand that a thread holds.
template <typename T, int WIDTH>
struct Part {
  Vector<T, WIDTH> vectors[BATCH];
};

// The first element of the thread's vector `i`.
template <int WIDTH>
DEVICE uint64_t position(int i) {
  return ((uint64_t(grid::block_x()) * BATCH + i) * THREADS + block::thread()) * WIDTH;
}

// The thread's part of `from`; what lies behind the end is zero.
template <int WIDTH, typename T>
DEVICE Part<T, WIDTH> load(const T* from, uint64_t elements) {
  Part<T, WIDTH> part;
#pragma unroll
  for (int i = 0; i < BATCH; ++i) {
    const uint64_t at = position<WIDTH>(i);
    if (at + WIDTH <= elements) {
      part.vectors[i].load(from + at);
    } else {
#pragma unroll
      for (int e = 0; e < WIDTH; ++e) part.vectors[i][e] = at + e < elements ? from[at + e] : T(0.0f);
    }
  }
  return part;
}

// Writes f of the operands' parts.
template <int WIDTH, typename T, typename F, typename... In>
DEVICE void store(T* out, uint64_t elements, F f, const Part<In, WIDTH>&... in) {
#pragma unroll
  for (int i = 0; i < BATCH; ++i) {
    const uint64_t at = position<WIDTH>(i);
    Vector<T, WIDTH> result;
#pragma unroll
    for (int e = 0; e < WIDTH; ++e) result[e] = T(f(float(in.vectors[i][e])...));
    if (at + WIDTH <= elements) {
      result.store(out + at);
    } else {
#pragma unroll
      for (int e = 0; e < WIDTH; ++e) {
        if (at + e < elements) out[at + e] = result[e];
      }
    }
  }
}

// out = f(in...), element by element; `out` may be one of the operands.
template <typename T, typename F, typename... In>
DEVICE void write(T* out, uint64_t elements, bool aligned, F f, const In*... in) {
  if (aligned) {
    store<8>(out, elements, f, load<8>(in, elements)...);
  } else {
    store<1>(out, elements, f, load<1>(in, elements)...);
  }
}

}  // namespace elementwise
