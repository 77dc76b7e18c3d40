// a * b, elementwise, on top of a.
#include "elementwise.cuh"
#include "gated_multiply.h"

template <typename T>
DEVICE void multiply(const GatedMultiplyParams& p) {
  T* a = static_cast<T*>(p.a);
  elementwise::write(a, p.elements, p.aligned, [](float a, float b) { return a * b; }, a, static_cast<const T*>(p.b));
}

KERNEL(gated_multiply, GatedMultiplyParams, elementwise::THREADS) { multiply<bf16>(p); }
KERNEL(gated_multiply_f32, GatedMultiplyParams, elementwise::THREADS) { multiply<float>(p); }
