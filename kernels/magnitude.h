// Parameters of DoRA's magnitudes.
#pragma once
#include "device/parameters.h"

// norm = |weight + change| row by row, scale = magnitude / norm.
typedef struct MagnitudeScaleParams {
  DEVICE_POINTER(const bf16) weight;      // [rows, columns]
  DEVICE_POINTER(const bf16) change;      // as weight; null without
  DEVICE_POINTER(const bf16) magnitude;   // [rows]
  DEVICE_POINTER(float) norm;             // [rows]
  DEVICE_POINTER(bf16) scale;             // [rows]
  uint32_t rows;
  uint32_t columns;
  uint32_t aligned;                       // every row of weight and change starts at a multiple of sixteen bytes
  uint32_t reserved;
} MagnitudeScaleParams;

// dmagnitude (+)= dscale / norm.
typedef struct MagnitudeGradientParams {
  DEVICE_POINTER(const float) dscale;
  DEVICE_POINTER(const float) norm;
  DEVICE_POINTER(float) dmagnitude;
  uint32_t rows;
  uint32_t accumulates;
} MagnitudeGradientParams;
