// Parameters of the flow-matching loss.
#pragma once
#include "device/parameters.h"
#include "step_state.h"

enum VelocityLossShape {
  VELOCITY_LOSS_THREADS = 256,
  VELOCITY_LOSS_ELEMENTS_A_BLOCK = 4096,
};

typedef struct VelocityLossParams {
  DEVICE_POINTER(const float) prediction;
  DEVICE_POINTER(const float) velocity;
  DEVICE_POINTER(float) dprediction;
  DEVICE_POINTER(double) sums;             // of squares: [samples, blocks_a_sample]
  DEVICE_POINTER(const StepHeader) state;
  DEVICE_POINTER(SampleState) samples;
  uint64_t sample_size;
  uint32_t blocks_a_sample;
  uint32_t reserved;
} VelocityLossParams;

// y = -x.
typedef struct NegateParams {
  DEVICE_POINTER(const float) x;
  DEVICE_POINTER(float) y;
  uint64_t elements;
} NegateParams;
