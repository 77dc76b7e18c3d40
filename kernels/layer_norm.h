// Parameters of LayerNorm with modulation, y = LN(x) (1 + scale) + shift.
#pragma once
#include "device/parameters.h"

// Shift and scale of all samples: chunks of modulation vectors.
typedef struct ModulationParams {
  DEVICE_POINTER(const float) shift;  // of the first sample
  DEVICE_POINTER(const float) scale;
  uint64_t stride;                    // elements from sample to sample
} ModulationParams;

typedef struct LayerNormModulateParams {
  DEVICE_POINTER(const void) x;       // [rows, columns], bf16 or f32
  DEVICE_POINTER(bf16) y;
  ModulationParams modulation;
  uint32_t rows;
  uint32_t columns;
  uint32_t tokens;                    // rows of a sample
  uint32_t aligned;                   // every row of every operand starts at a multiple of sixteen bytes
} LayerNormModulateParams;

typedef struct LayerNormModulateGradientParams {
  DEVICE_POINTER(const bf16) x;       // [rows, columns]
  DEVICE_POINTER(const bf16) dy;
  DEVICE_POINTER(bf16) dx;
  ModulationParams modulation;
  uint32_t rows;
  uint32_t columns;
  uint32_t tokens;
  uint32_t aligned;
  uint32_t accumulates;               // dx is added to
  uint32_t reserved;
} LayerNormModulateGradientParams;

typedef struct LayerNormStatisticsParams {
  DEVICE_POINTER(const bf16) x;       // [rows, columns]
  DEVICE_POINTER(float) statistics;   // [rows, 2]: mean, rstd
  uint32_t rows;
  uint32_t columns;
  uint32_t aligned;
  uint32_t reserved;
} LayerNormStatisticsParams;

typedef struct ModulationGradientParams {
  DEVICE_POINTER(const bf16) x;           // [samples, tokens, columns]
  DEVICE_POINTER(const bf16) dy;
  DEVICE_POINTER(const float) statistics; // [samples, tokens, 2]
  DEVICE_POINTER(float) partials;         // [samples, bands, 2, columns]: of shift and scale
  uint32_t tokens;
  uint32_t band_rows;
  uint32_t columns;
  uint32_t aligned;
} ModulationGradientParams;
