// Parameters of GroupNorm of channels-last pictures [b, h, w, c].
#pragma once
#include "device/parameters.h"

enum GroupNormShape {
  GROUP_NORM_THREADS = 256,
  GROUP_NORM_WIDTH = 8,      // channels of a thread where they are aligned; half of them for sums of f32
};

// Sums and sums of squares of every channel, band by band; then the groups' statistics.
typedef struct GroupStatisticsParams {
  DEVICE_POINTER(const void) x;        // bf16 or f32
  DEVICE_POINTER(double) sums;         // [b, bands, c, 2]
  DEVICE_POINTER(float) statistics;    // [b, groups, 2]: mean, 1 / sqrt(variance + epsilon)
  uint64_t area;                       // pixels of a picture
  uint64_t band;                       // pixels of a band
  uint32_t bands;
  uint32_t channels;
  uint32_t groups;
  uint32_t aligned;                    // every eight channels start at a multiple of sixteen bytes
  float epsilon;
  uint32_t reserved;
} GroupStatisticsParams;

// What normalises a picture, channel by channel.
typedef struct NormParams {
  DEVICE_POINTER(const float) statistics;   // [b, groups, 2]; null: there is no norm
  DEVICE_POINTER(const bf16) weight;        // [c]
  DEVICE_POINTER(const bf16) bias;          // [c]
  uint32_t groups;
  uint32_t silu;                            // whether SiLU follows
} NormParams;

typedef struct GroupNormParams {
  DEVICE_POINTER(const void) x;        // bf16 or f32
  DEVICE_POINTER(void) y;              // as x
  NormParams norm;
  uint64_t elements;                   // of a picture
  uint32_t channels;
  uint32_t aligned;
} GroupNormParams;
