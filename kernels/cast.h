// Parameters of the cast kernels.
#pragma once
#include "device/parameters.h"

// y = x; y is bf16 or float, as the symbol says.
typedef struct CastParams {
  DEVICE_POINTER(const float) x;
  DEVICE_POINTER(void) y;
  uint64_t elements;
  uint32_t aligned;   // both operands start at a multiple of sixteen bytes
  uint32_t reserved;
} CastParams;
