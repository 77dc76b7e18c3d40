// AdamW with everything in f32, or everything in bf16, and the moving average: memory bounds all of them. A thread has
// eight neighbouring elements and all their loads under way at once.
//
// In bf16 nothing is lost on average: values are rounded stochastically, by sixteen random bits of the element. One
// block of the counter stream has those of a thread's eight elements, and every buffer has a lane of its own.
#include "adamw.h"
#include "adamw_step.cuh"
#include "device/device.cuh"

namespace adamw {

template <typename T>
using Part = Vector<T, WIDTH>;

// Writes the thread's values, rounded by the bits that its elements have in `stream`.
DEVICE void store_rounded(bf16* to, const Part<float>& values, const Stream& stream) {
  const uint64_t first = first_element();
  const Words random = stream.block(uint32_t(first / WIDTH));
  Part<bf16> rounded;
#pragma unroll
  for (int i = 0; i < WIDTH; ++i) rounded[i] = round_stochastically(values[i], random.word[i / 2] >> (16 * (i % 2)));
  rounded.store(to + first);
}

template <typename T>
DEVICE void average(float* average, const T* parameters, const StepHeader& state, uint64_t elements) {
  const uint64_t first = first_element();
  if (first >= elements) return;
  Part<float> a;
  Part<T> p;
  a.load(average + first);
  p.load(parameters + first);
  const float fresh = 1.0f - state.ema_decay;
#pragma unroll
  for (int i = 0; i < WIDTH; ++i) a[i] -= fresh * (a[i] - float(p[i]));
  a.store(average + first);
}

}  // namespace adamw

KERNEL(adamw_f32, AdamWParams, adamw::THREADS) {
  const uint64_t first = adamw::first_element();
  if (first >= p.elements) return;
  adamw::Part<float> gradients, parameters, moment1, moment2;
  gradients.load(p.gradients + first);
  parameters.load(p.parameters + first);
  moment1.load(p.moment1 + first);
  moment2.load(p.moment2 + first);
  const adamw::Step step(p.decay, *p.state);
  adamw::Part<bf16> working, rest;
#pragma unroll
  for (int i = 0; i < adamw::WIDTH; ++i) {
    const adamw::Element e = step({parameters[i], moment1[i], moment2[i]}, gradients[i]);
    parameters[i] = e.p, moment1[i] = e.m, moment2[i] = e.v;
    working[i] = bf16(e.p);
    rest[i] = bf16(e.p - float(working[i]));
  }
  parameters.store(p.parameters + first);
  moment1.store(p.moment1 + first);
  moment2.store(p.moment2 + first);
  if (p.working) working.store(p.working + first);
  if (p.rest) rest.store(p.rest + first);
}

KERNEL(adamw_bf16, AdamWBf16Params, adamw::THREADS) {
  const uint64_t first = adamw::first_element();
  if (first >= p.elements) return;
  adamw::Part<float> gradients;
  adamw::Part<bf16> parameters, moment1, moment2;
  gradients.load(p.gradients + first);
  parameters.load(p.parameters + first);
  moment1.load(p.moment1 + first);
  moment2.load(p.moment2 + first);
  const StepHeader& state = *p.state;
  const adamw::Step step(p.decay, state);
  adamw::Part<float> new_parameters, new_moment1, new_moment2;
#pragma unroll
  for (int i = 0; i < adamw::WIDTH; ++i) {
    const adamw::Element e = step({float(parameters[i]), float(moment1[i]), float(moment2[i])}, gradients[i]);
    new_parameters[i] = e.p, new_moment1[i] = e.m, new_moment2[i] = e.v;
  }
  const auto stream = [&](uint32_t lane) {
    return Stream(state.seed[0], state.seed[1], Purpose::STOCHASTIC_ROUNDING, lane, state.step, 0);
  };
  adamw::store_rounded(p.parameters, new_parameters, stream(0));
  adamw::store_rounded(p.moment1, new_moment1, stream(1));
  adamw::store_rounded(p.moment2, new_moment2, stream(2));
}

KERNEL(moving_average, MovingAverageParams, adamw::THREADS) {
  adamw::average(p.average, p.parameters, *p.state, p.elements);
}

KERNEL(moving_average_bf16, MovingAverageBf16Params, adamw::THREADS) {
  adamw::average(p.average, p.parameters, *p.state, p.elements);
}
