// Parameters of the gated multiply kernel.
#pragma once
#include "device/parameters.h"

// a becomes a * b.
typedef struct GatedMultiplyParams {
  DEVICE_POINTER(bf16) a;
  DEVICE_POINTER(const bf16) b;
  uint64_t elements;
  uint32_t aligned;   // both operands start at a multiple of sixteen bytes
  uint32_t reserved;
} GatedMultiplyParams;
