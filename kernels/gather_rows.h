// Parameters of the kernel that picks one row of each sample.
#pragma once
#include "device/parameters.h"

// y[b] = x[b, chosen[b]].
typedef struct GatherRowsParams {
  DEVICE_POINTER(const void) x;            // [samples, tokens, columns], bf16 or f32
  DEVICE_POINTER(const int32_t) chosen;    // [samples]
  DEVICE_POINTER(void) y;                  // [samples, columns], as x
  uint32_t samples;
  uint32_t columns;
  uint32_t tokens;
  uint32_t aligned;                        // every row of x and y starts at a multiple of sixteen bytes
} GatherRowsParams;
