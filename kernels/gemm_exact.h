// Parameters of the linear layer whose activations stay f32.
#pragma once
#include "device/parameters.h"

// Y = f(X W^T + b).
typedef struct GemmExactParams {
  DEVICE_POINTER(const float) x;     // [m, k]
  DEVICE_POINTER(const bf16) w;      // [n, k]
  DEVICE_POINTER(const bf16) bias;   // [n]; null without
  DEVICE_POINTER(float) y;           // [m, n]
  uint32_t m;
  uint32_t n;
  uint32_t k;
  uint32_t epilogue;                 // a GemmEpilogue: GEMM_STORE or an activation
  uint32_t vectors;                  // GemmVectors
  uint32_t reserved;
} GemmExactParams;
