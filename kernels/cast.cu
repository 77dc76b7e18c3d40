// The same values in the element type of the result, rounded to nearest even.
#include "cast.h"
#include "elementwise.cuh"

template <typename T>
DEVICE void cast(const CastParams& p) {
  elementwise::write(static_cast<T*>(p.y), p.elements, p.aligned, [](float x) { return x; }, p.x);
}

KERNEL(cast_bf16, CastParams, elementwise::THREADS) { cast<bf16>(p); }
KERNEL(cast_f32, CastParams, elementwise::THREADS) { cast<float>(p); }
