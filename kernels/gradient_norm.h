// Parameters of the norm of all gradients.
#pragma once
#include "device/parameters.h"
#include "step_state.h"

enum GradientNormShape {
  GRADIENT_NORM_THREADS = 256,
  GRADIENT_NORM_ELEMENTS_A_BLOCK = 32768,
};

typedef struct GradientNormParams {
  DEVICE_POINTER(const float) gradients;   // a flat buffer: whole cache lines
  DEVICE_POINTER(double) sums;             // of squares, one a block of the first kernel
  DEVICE_POINTER(StepHeader) state;
  uint64_t elements;
  uint32_t blocks;
  uint32_t reserved;
} GradientNormParams;
