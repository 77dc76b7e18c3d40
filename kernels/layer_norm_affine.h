// Parameters of LayerNorm with gain and bias.
#pragma once
#include "device/parameters.h"

// y = (x - mean) / sqrt(variance + epsilon) gain + bias.
typedef struct LayerNormAffineParams {
  DEVICE_POINTER(const void) x;      // [rows, columns], bf16 or f32
  DEVICE_POINTER(const bf16) gain;   // [columns]
  DEVICE_POINTER(const bf16) bias;   // [columns]
  DEVICE_POINTER(void) y;            // as x
  uint32_t rows;
  uint32_t columns;
  uint32_t aligned;                  // every row of every operand starts at a multiple of sixteen bytes
  float epsilon;
} LayerNormAffineParams;
