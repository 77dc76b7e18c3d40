// Parameters of the gated multiply kernel.
#pragma once
#include "device/parameters.h"

// a becomes a * b.
typedef struct GatedMultiplyParams {
  DEVICE_POINTER(void) a;         // bf16 or f32
  DEVICE_POINTER(const void) b;   // as a
  uint64_t elements;
  uint32_t aligned;   // both operands start at a multiple of sixteen bytes
  uint32_t reserved;
} GatedMultiplyParams;
