// Parameters of the sum kernels.
#pragma once
#include "device/parameters.h"

// a becomes a + b; both are bf16 or float, as the symbol says.
typedef struct AddParams {
  DEVICE_POINTER(void) a;
  DEVICE_POINTER(const void) b;
  uint64_t elements;
  uint32_t aligned;   // both operands start at a multiple of sixteen bytes
  uint32_t reserved;
} AddParams;
