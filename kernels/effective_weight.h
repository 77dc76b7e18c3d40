// Parameters of the kernels that make effective weights and the gradients of their factors.
#pragma once
#include "device/parameters.h"

enum {
  KRONECKER_THREADS = 256,
  TRANSPOSE_THREADS = 128,
  TRANSPOSE_EDGE = 8,   // a thread's square
};

// to = weight + scale * first * second, element by element.
typedef struct HadamardWeightParams {
  DEVICE_POINTER(const bf16) weight;
  DEVICE_POINTER(const bf16) first;
  DEVICE_POINTER(const bf16) second;
  DEVICE_POINTER(bf16) to;
  uint64_t elements;
  float scale;
  uint32_t aligned;   // all operands start at a multiple of sixteen bytes
} HadamardWeightParams;

// Both factors become their gradients: first = scale * dw * second and the other way round.
typedef struct HadamardGradientParams {
  DEVICE_POINTER(const float) dw;
  DEVICE_POINTER(bf16) first;
  DEVICE_POINTER(bf16) second;
  uint64_t elements;
  float scale;
  uint32_t aligned;
} HadamardGradientParams;

// The extents of a Kronecker product: [l, m] and [k, n] make [l k, m n].
typedef struct KroneckerExtents {
  uint32_t l;
  uint32_t m;
  uint32_t k;
  uint32_t n;
} KroneckerExtents;

// to = weight + scale * first (x) second.
typedef struct KroneckerWeightParams {
  DEVICE_POINTER(const bf16) weight;
  DEVICE_POINTER(const bf16) first;
  DEVICE_POINTER(const bf16) second;
  DEVICE_POINTER(bf16) to;
  KroneckerExtents extents;
  float scale;
  uint32_t reserved;
} KroneckerWeightParams;

// The gradient of one factor, from dW and the other factor: f32 sums, or else bf16 values.
typedef struct KroneckerGradientParams {
  DEVICE_POINTER(const float) dw;
  DEVICE_POINTER(const bf16) other;
  DEVICE_POINTER(float) sums;    // null: values
  DEVICE_POINTER(bf16) values;
  KroneckerExtents extents;
  float scale;
  uint32_t accumulates;          // whether the sums are added to
} KroneckerGradientParams;

// to [columns, rows] = from [rows, columns], transposed.
typedef struct TransposeParams {
  DEVICE_POINTER(const bf16) from;
  DEVICE_POINTER(bf16) to;
  uint32_t rows;
  uint32_t columns;
  uint32_t aligned;   // eight elements of every row of both are a vector
  uint32_t reserved;
} TransposeParams;
