// Parameters of the second stage of sums over rows.
#pragma once
#include "device/parameters.h"

enum { COLUMN_SUMS_THREADS = 256 };

// Sums of the bands' partial sums, put into chunks of modulation vectors.
typedef struct ColumnSumsParams {
  DEVICE_POINTER(const float) partials;   // [samples, bands, sums, columns]
  DEVICE_POINTER(bf16) out;               // [samples, length]
  uint32_t bands;
  uint32_t sums;                          // 1 or 2
  uint32_t columns;
  uint32_t length;
  uint32_t chunks[2];                     // where each sum goes, in chunks of `columns` elements
  uint32_t accumulates;                   // the chunks are added to and the rest is left alone; else the rest is zero
  uint32_t reserved;
} ColumnSumsParams;
