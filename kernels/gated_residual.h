// Parameters of gated residuals, x + gate * y.
#pragma once
#include "device/parameters.h"

// x becomes x + gate * y, or dy = gate * dx.
typedef struct GatedResidualParams {
  DEVICE_POINTER(const float) gate;  // of the first sample
  DEVICE_POINTER(const bf16) in;     // [rows, columns]: y, or dx
  DEVICE_POINTER(void) out;          // x, bf16 or f32, or dy, bf16
  uint64_t gate_stride;              // elements from sample to sample
  uint32_t rows;
  uint32_t columns;
  uint32_t tokens;                   // rows of a sample
  uint32_t aligned;                  // every row of every operand starts at a multiple of sixteen bytes
} GatedResidualParams;

typedef struct GateGradientParams {
  DEVICE_POINTER(const bf16) y;       // [samples, tokens, columns]
  DEVICE_POINTER(const bf16) dx;
  DEVICE_POINTER(float) partials;     // [samples, bands, columns]
  uint32_t tokens;
  uint32_t band_rows;
  uint32_t columns;
  uint32_t aligned;
} GateGradientParams;
