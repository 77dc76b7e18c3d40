// The activations and their slopes.
//
// All but the error function's form are x sigmoid(g(x)): GELU by tanh is one, since (1 + tanh(u)) / 2 = sigmoid(2u),
// and so keeps its relative precision where it is close to zero. Their slope is s (1 + x (1 - s) g'(x)) with
// s = sigmoid(g(x)).
#pragma once
#include "device/device.cuh"

namespace activation {

// x sigmoid(g(x)), where G gives g and its slope.
template <typename G>
struct Gated {
  DEVICE static float value(float x) { return x * fast::sigmoid(G::value(x)); }
  DEVICE static float slope(float x) {
    const float s = fast::sigmoid(G::value(x));
    return s * (1.0f + x * (1.0f - s) * G::slope(x));
  }
};

// 2 sqrt(2 / pi) (x + 0.044715 x^3).
struct GeluTanhGate {
  static constexpr float SCALE = 1.5957691f;
  static constexpr float CUBIC = 0.044715f;
  DEVICE static float value(float x) { return SCALE * (x + CUBIC * x * x * x); }
  DEVICE static float slope(float x) { return SCALE * (1.0f + 3.0f * CUBIC * x * x); }
};

struct QuickGeluGate {
  DEVICE static float value(float x) { return 1.702f * x; }
  DEVICE static float slope(float) { return 1.702f; }
};

struct SiluGate {
  DEVICE static float value(float x) { return x; }
  DEVICE static float slope(float) { return 1.0f; }
};

using GeluTanh = Gated<GeluTanhGate>;
using QuickGelu = Gated<QuickGeluGate>;
using Silu = Gated<SiluGate>;

// x (1 + erf(x / sqrt(2))) / 2.
struct GeluErf {
  DEVICE static float cdf(float x) { return 0.5f * (1.0f + math::erf(x * 0.70710678f)); }
  DEVICE static float value(float x) { return x * cdf(x); }
  DEVICE static float slope(float x) { return cdf(x) + x * 0.3989423f * fast::exp(-0.5f * x * x); }
};

}  // namespace activation
