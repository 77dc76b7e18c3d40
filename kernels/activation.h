// Parameters of the activation kernels.
#pragma once
#include "device/parameters.h"

// y = f(x).
typedef struct ActivateParams {
  DEVICE_POINTER(const void) x;   // bf16 or f32
  DEVICE_POINTER(void) y;         // as x
  uint64_t elements;
  uint32_t aligned;   // every operand starts at a multiple of sixteen bytes
  uint32_t reserved;
} ActivateParams;

// dx (+)= f'(x) dy.
typedef struct ActivateGradientParams {
  DEVICE_POINTER(const bf16) x;
  DEVICE_POINTER(const bf16) dy;
  DEVICE_POINTER(bf16) dx;
  uint64_t elements;
  uint32_t aligned;
  uint32_t accumulates;
} ActivateGradientParams;
