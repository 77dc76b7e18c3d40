// Parameters of the kernel that adds positions.
#pragma once
#include "device/parameters.h"

// x becomes x + positions, the same for every sample.
typedef struct AddPositionsParams {
  DEVICE_POINTER(const bf16) positions;   // [tokens, columns]
  DEVICE_POINTER(void) x;                 // [rows, columns], bf16 or f32
  uint32_t rows;
  uint32_t columns;
  uint32_t tokens;                        // rows of a sample
  uint32_t aligned;                       // every row of both operands starts at a multiple of sixteen bytes
} AddPositionsParams;
