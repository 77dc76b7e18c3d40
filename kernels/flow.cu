// Flow matching's inputs: a draw of the clean latents, noise, noisy latents and velocity, and the gradient through them.
//
// A thread has four neighbouring elements of a sample: one block of the counter stream, whose draws are the same on
// every device because Box-Muller runs in f64. The tensors are a few megabytes, so plain accesses serve.
#include "device/device.cuh"
#include "flow.h"

namespace flow {

constexpr int WIDTH = 4;

// The thread's first element in its sample.
DEVICE uint64_t first_element() {
  return (uint64_t(grid::block_x()) * FLOW_THREADS + block::thread()) * WIDTH;
}

// Calls f(element of the sample, element of the tensor) for the thread's elements.
template <typename F>
DEVICE void for_each(uint64_t sample_size, F f) {
  const uint64_t first = first_element(), sample = grid::block_y() * sample_size;
#pragma unroll
  for (int i = 0; i < WIDTH; ++i) {
    if (first + i < sample_size) f(i, sample + first + i);
  }
}

// The normals of the thread's elements.
DEVICE void draw(float (&to)[WIDTH], const StepHeader& state, Purpose purpose) {
  const Stream stream(state.seed[0], state.seed[1], purpose, 0, state.step, state.first_sample + grid::block_y());
  stream.normals(to, uint32_t(first_element() / WIDTH));
}

}  // namespace flow

KERNEL(draw_noise, DrawParams, FLOW_THREADS) {
  float draws[flow::WIDTH];
  flow::draw(draws, *p.state, Purpose::NOISE);
  flow::for_each(p.sample_size, [&](int i, uint64_t at) { p.out[at] = draws[i]; });
}

KERNEL(sample_latents, DrawParams, FLOW_THREADS) {
  float draws[flow::WIDTH];
  flow::draw(draws, *p.state, Purpose::LATENT);
  flow::for_each(p.sample_size, [&](int i, uint64_t at) {
    const float deviation = math::exp(0.5f * math::min(math::max(p.logvar[at], -30.0f), 20.0f));
    p.out[at] = (p.mean[at] + deviation * draws[i] - p.shift) * p.scale;
  });
}

KERNEL(flow_noising, FlowNoisingParams, FLOW_THREADS) {
  const float sigma = p.samples[grid::block_y()].sigma;
  flow::for_each(p.sample_size, [&](int, uint64_t at) {
    const float latent = p.latents[at], noise = p.noise[at];
    p.noisy[at] = (1.0f - sigma) * latent + sigma * noise;
    p.velocity[at] = noise - latent;
  });
}

KERNEL(flow_noising_gradient, FlowNoisingGradientParams, FLOW_THREADS) {
  const float kept = 1.0f - p.samples[grid::block_y()].sigma;
  flow::for_each(p.sample_size, [&](int, uint64_t at) {
    float gradient = p.accumulates ? p.dlatents[at] : 0.0f;
    if (p.dnoisy) gradient += kept * p.dnoisy[at];
    if (p.dvelocity) gradient -= p.dvelocity[at];
    p.dlatents[at] = gradient;
  });
}
