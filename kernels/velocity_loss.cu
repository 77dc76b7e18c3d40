// The flow-matching loss of every sample, weight mean((prediction - velocity)^2), and its gradient, in two stages: a
// block has a part of one sample and adds its squares in f64; then a block for each sample adds the parts.
#include "device/device.cuh"
#include "velocity_loss.h"

KERNEL(velocity_loss_parts, VelocityLossParams, VELOCITY_LOSS_THREADS) {
  const uint64_t sample = grid::block_y();
  const uint64_t first = uint64_t(grid::block_x()) * VELOCITY_LOSS_ELEMENTS_A_BLOCK;
  const uint64_t end = min(first + VELOCITY_LOSS_ELEMENTS_A_BLOCK, p.sample_size);
  const float factor = 2.0f * p.state->sample_weight * p.samples[sample].loss_weight / float(p.sample_size);
  double squares = 0.0;
#pragma unroll 4
  for (uint64_t i = first + block::thread(); i < end; i += VELOCITY_LOSS_THREADS) {
    const uint64_t at = sample * p.sample_size + i;
    const float difference = p.prediction[at] - p.velocity[at];
    squares += double(difference) * double(difference);
    p.dprediction[at] = factor * difference;
  }
  const double total = block::sum(squares);
  if (block::thread() == 0) p.sums[sample * p.blocks_a_sample + grid::block_x()] = total;
}

KERNEL(velocity_loss, VelocityLossParams, VELOCITY_LOSS_THREADS) {
  const uint64_t sample = grid::block_x();
  double squares = 0.0;
  for (uint32_t i = block::thread(); i < p.blocks_a_sample; i += VELOCITY_LOSS_THREADS) {
    squares += p.sums[sample * p.blocks_a_sample + i];
  }
  const double total = block::sum(squares);
  if (block::thread() != 0) return;
  SampleState& state = p.samples[sample];
  state.loss = float(double(state.loss_weight) * total / double(p.sample_size));
}

KERNEL(negate, NegateParams, VELOCITY_LOSS_THREADS) {
  const uint64_t i = uint64_t(grid::block_x()) * VELOCITY_LOSS_THREADS + block::thread();
  if (i < p.elements) p.y[i] = -p.x[i];
}
