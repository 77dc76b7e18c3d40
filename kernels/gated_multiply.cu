// a * b, elementwise, on top of a.
#include "elementwise.cuh"
#include "gated_multiply.h"

KERNEL(gated_multiply, GatedMultiplyParams, elementwise::THREADS) {
  elementwise::write(p.a, p.elements, p.aligned, [](float a, float b) { return a * b; }, p.a, p.b);
}
