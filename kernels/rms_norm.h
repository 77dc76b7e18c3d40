// Parameters of RMSNorm of whole rows.
#pragma once
#include "device/parameters.h"

// y = x gain / sqrt(mean(x^2) + epsilon).
typedef struct RmsNormParams {
  DEVICE_POINTER(const void) x;      // [rows, columns], bf16 or f32
  DEVICE_POINTER(const bf16) gain;   // [columns]
  DEVICE_POINTER(void) y;            // as x
  uint32_t rows;
  uint32_t columns;
  uint32_t aligned;                  // every row of every operand starts at a multiple of sixteen bytes
  float epsilon;
} RmsNormParams;
