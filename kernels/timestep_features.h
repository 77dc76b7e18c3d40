// Parameters of the timestep features.
#pragma once
#include "device/parameters.h"

enum { TIMESTEP_FEATURES_THREADS = 128 };

typedef struct TimestepFeaturesParams {
  DEVICE_POINTER(const float) timesteps;   // [samples]
  DEVICE_POINTER(void) features;           // [samples, count], bf16 or f32
  uint32_t samples;
  uint32_t count;
} TimestepFeaturesParams;
