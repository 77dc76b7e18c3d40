// One step of AdamW on one element, in f32, the same in all forms:
//   g = the gradient times the clip factor, clamped,
//   m += (1 - beta1) (g - m),  v = beta2 v + (1 - beta2) g^2,
//   p = p (1 - lr decay) - lr / (1 - beta1^t) m / (sqrt(v) / sqrt(1 - beta2^t) + epsilon).
#pragma once
#include "adamw.h"
#include "device/device.cuh"

namespace adamw {

constexpr int THREADS = ADAMW_THREADS;
constexpr int WIDTH = ADAMW_ELEMENTS_A_THREAD;

constexpr float LARGEST_FLOAT = 3.402823466e38f;

struct Element {
  float p, m, v;
};

// What the step multiplies and adds, the same for every element.
struct Step {
  float clip_factor, largest, beta2, fresh1, fresh2, epsilon, kept, rate, root_correction;

  DEVICE Step(const AdamWDecay& decay, const StepHeader& state)
      : clip_factor(state.clip_factor),
        largest(state.max_gradient_value > 0.0f ? state.max_gradient_value : LARGEST_FLOAT),
        beta2(decay.beta2),
        fresh1(decay.fresh1),
        fresh2(decay.fresh2),
        epsilon(decay.epsilon),
        kept(float(1.0 - double(state.learning_rate) * decay.weight_decay)),
        rate(state.learning_rate / state.bias_correction1),
        root_correction(math::sqrt(state.bias_correction2)) {}

  DEVICE Element operator()(Element e, float gradient) const {
    const float g = math::max(-largest, math::min(gradient * clip_factor, largest));
    e.m += fresh1 * (g - e.m);
    e.v = beta2 * e.v + fresh2 * g * g;
    e.p = e.p * kept - rate * e.m / (math::sqrt(e.v) / root_correction + epsilon);
    return e;
  }
};

// The thread's first element.
DEVICE uint64_t first_element() {
  return (uint64_t(grid::block_x()) * THREADS + block::thread()) * WIDTH;
}

}  // namespace adamw
