// a + b, elementwise, on top of a.
#include "add.h"
#include "elementwise.cuh"

template <typename T>
DEVICE void add(const AddParams& p) {
  T* a = static_cast<T*>(p.a);
  elementwise::write(a, p.elements, p.aligned, [](float a, float b) { return a + b; }, a, static_cast<const T*>(p.b));
}

KERNEL(add_bf16, AddParams, elementwise::THREADS) { add<bf16>(p); }
KERNEL(add_f32, AddParams, elementwise::THREADS) { add<float>(p); }
