// The norm of all gradients and what to multiply them by, min(1, max / (norm + 1e-6)), in two stages: sums of squares
// of equal parts, then their sum. Squares are added in f64, in an order that depends on the number of elements alone;
// a gradient that is not finite makes the norm so.
#include "device/device.cuh"
#include "gradient_norm.h"

KERNEL(gradient_squares, GradientNormParams, GRADIENT_NORM_THREADS) {
  constexpr int WIDTH = 8;
  constexpr int STRIDE = GRADIENT_NORM_THREADS * WIDTH;
  const uint64_t first = uint64_t(grid::block_x()) * GRADIENT_NORM_ELEMENTS_A_BLOCK + block::thread() * WIDTH;
  double squares[WIDTH] = {};
#pragma unroll 2
  for (int offset = 0; offset < GRADIENT_NORM_ELEMENTS_A_BLOCK; offset += STRIDE) {
    if (first + offset >= p.elements) break;
    Vector<float, WIDTH> gradients;
    gradients.load(p.gradients + first + offset);
#pragma unroll
    for (int i = 0; i < WIDTH; ++i) squares[i] += double(gradients[i]) * double(gradients[i]);
  }
  const double sum = ((squares[0] + squares[1]) + (squares[2] + squares[3])) +
                     ((squares[4] + squares[5]) + (squares[6] + squares[7]));
  const double total = block::sum(sum);
  if (block::thread() == 0) p.sums[grid::block_x()] = total;
}

KERNEL(gradient_norm, GradientNormParams, GRADIENT_NORM_THREADS) {
  double sum = 0.0;
  for (uint32_t i = block::thread(); i < p.blocks; i += GRADIENT_NORM_THREADS) sum += p.sums[i];
  const double total = block::sum(sum);
  if (block::thread() != 0) return;
  StepHeader& state = *p.state;
  const double norm = math::sqrt(total);
  const double limit = state.max_gradient_norm;
  const double factor = limit / (norm + 1e-6);
  state.gradient_norm = float(norm);
  // A norm that is not a number leaves the factor at 1, as min does on the processor.
  state.clip_factor = limit > 0.0 && factor < 1.0 ? float(factor) : 1.0f;
}
