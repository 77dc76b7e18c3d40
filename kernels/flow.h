// Parameters of flow matching's inputs. Samples lie one behind the other; a block of the grid's y is a sample.
#pragma once
#include "device/parameters.h"
#include "step_state.h"

enum FlowShape { FLOW_THREADS = 256 };

// eps, or x_0 = (mean + exp(logvar / 2) n - shift) scale.
typedef struct DrawParams {
  DEVICE_POINTER(const StepHeader) state;
  DEVICE_POINTER(const float) mean;
  DEVICE_POINTER(const float) logvar;
  DEVICE_POINTER(float) out;
  uint64_t sample_size;
  float shift;
  float scale;
} DrawParams;

// x_t = (1 - sigma) x_0 + sigma eps, v = eps - x_0.
typedef struct FlowNoisingParams {
  DEVICE_POINTER(const SampleState) samples;
  DEVICE_POINTER(const float) latents;
  DEVICE_POINTER(const float) noise;
  DEVICE_POINTER(float) noisy;
  DEVICE_POINTER(float) velocity;
  uint64_t sample_size;
} FlowNoisingParams;

// dx_0 (+)= (1 - sigma) dx_t - dv.
typedef struct FlowNoisingGradientParams {
  DEVICE_POINTER(const SampleState) samples;
  DEVICE_POINTER(const float) dnoisy;      // or null
  DEVICE_POINTER(const float) dvelocity;   // or null
  DEVICE_POINTER(float) dlatents;
  uint64_t sample_size;
  uint32_t accumulates;
  uint32_t reserved;
} FlowNoisingGradientParams;
