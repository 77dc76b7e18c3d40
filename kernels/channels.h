// Parameters of the kernels between planes [b, channels, h, w] in f32 and pixels [b, h, w, channels] in
// bf16 or f32.
#pragma once
#include "device/parameters.h"

enum ChannelsShape {
  CHANNELS_THREADS = 256,
  CHANNELS_A_THREAD = 8,
};

typedef struct ChannelsLastParams {
  DEVICE_POINTER(const float) planes;
  DEVICE_POINTER(void) pixels;         // bf16 or f32
  uint64_t area;       // pixels of a picture
  uint32_t channels;
  uint32_t aligned;    // every eight channels of a pixel start at a multiple of sixteen bytes
} ChannelsLastParams;

typedef struct ChannelsFirstParams {
  DEVICE_POINTER(const void) pixels;   // bf16 or f32
  DEVICE_POINTER(float) planes;
  uint64_t area;
  uint32_t channels;   // of a pixel
  uint32_t first;      // the first channel taken
  uint32_t taken;      // channels taken
  uint32_t aligned;    // every eight channels taken start at a multiple of sixteen bytes
  float least;         // values are clamped to these
  float greatest;
} ChannelsFirstParams;
