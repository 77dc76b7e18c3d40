// Functions of the elements of vectors side by side, in f32.
#pragma once
#include "device/device.cuh"

namespace vectors {

// A vector's elements as floats.
template <int WIDTH>
struct Floats {
  float values[WIDTH];

  template <typename T>
  DEVICE explicit Floats(const Vector<T, WIDTH>& from) {
#pragma unroll
    for (int e = 0; e < WIDTH; ++e) values[e] = float(from[e]);
  }

  // bf16 by pairs: one instruction an element.
  DEVICE explicit Floats(const Vector<bf16, WIDTH>& from) {
    if constexpr (WIDTH == 1) {
      values[0] = float(from[0]);
    } else {
#pragma unroll
      for (int e = 0; e < WIDTH; e += 2) {
        uint32_t both;
        __builtin_memcpy(&both, &from.values[e], sizeof both);
        values[e] = low_of(both);
        values[e + 1] = high_of(both);
      }
    }
  }
};

// Rounds floats to the elements of a vector; bf16 by pairs.
template <typename T, int WIDTH>
DEVICE void round(Vector<T, WIDTH>& to, const float (&from)[WIDTH]) {
#pragma unroll
  for (int e = 0; e < WIDTH; ++e) to[e] = T(from[e]);
}

template <int WIDTH>
DEVICE void round(Vector<bf16, WIDTH>& to, const float (&from)[WIDTH]) {
  if constexpr (WIDTH == 1) {
    to[0] = bf16(from[0]);
  } else {
#pragma unroll
    for (int e = 0; e < WIDTH; e += 2) {
      const uint32_t both = pack(from[e], from[e + 1]);
      __builtin_memcpy(&to.values[e], &both, sizeof both);
    }
  }
}

// f(in...) of every element, rounded to T.
template <typename T, int WIDTH, typename F, typename... In>
DEVICE Vector<T, WIDTH> map(F f, const Vector<In, WIDTH>&... in) {
  float values[WIDTH];
  const auto each = [&](const auto&... floats) {
#pragma unroll
    for (int e = 0; e < WIDTH; ++e) values[e] = f(floats.values[e]...);
  };
  each(Floats<WIDTH>(in)...);
  Vector<T, WIDTH> result;
  round(result, values);
  return result;
}

// The sum of f(in...) over the elements; f gives a float, or what can be added like one.
template <int WIDTH, typename F, typename... In>
DEVICE auto sum(F f, const Vector<In, WIDTH>&... in) {
  const auto each = [&](const auto&... floats) {
    auto total = f(floats.values[0]...);
#pragma unroll
    for (int e = 1; e < WIDTH; ++e) total += f(floats.values[e]...);
    return total;
  };
  return each(Floats<WIDTH>(in)...);
}

}  // namespace vectors
