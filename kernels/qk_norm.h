// Parameters of the RMSNorm of queries and keys.
#pragma once
#include "device/parameters.h"

enum { QK_NORM_PARTS = 2 };

// Queries or keys: `heads` heads from column `first`, with one gain.
typedef struct QkNormPart {
  DEVICE_POINTER(const bf16) weight;   // [head_dim]
  uint32_t first;
  uint32_t reserved;
} QkNormPart;

typedef struct QkNormParams {
  QkNormPart parts[QK_NORM_PARTS];
  DEVICE_POINTER(const bf16) x;   // [rows, columns]; the gradient reads it
  DEVICE_POINTER(bf16) qkv;       // values, or their gradient, before and after
  uint32_t part_count;
  uint32_t rows;
  uint32_t columns;
  uint32_t heads;                 // of a part
  uint32_t head_dim;
  uint32_t reserved;
} QkNormParams;

// One part's heads, and the gradient of what they became.
typedef struct QkNormWeightGradientParams {
  DEVICE_POINTER(const bf16) x;          // of the part's first head; rows of `columns` elements
  DEVICE_POINTER(const bf16) dy;
  DEVICE_POINTER(float) reciprocal_rms;  // [rows, heads]
  DEVICE_POINTER(float) partials;        // [bands, head_dim]
  DEVICE_POINTER(float) dweight;         // [head_dim]
  uint64_t columns;
  uint32_t rows;
  uint32_t heads;
  uint32_t head_dim;
  uint32_t band_rows;                    // heads of a band
  uint32_t bands;
  uint32_t aligned;                      // every head of every operand starts at a multiple of sixteen bytes
  uint32_t accumulates;
  uint32_t reserved;
} QkNormWeightGradientParams;
