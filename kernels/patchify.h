// Parameters of the kernels between latents and patches.
#pragma once
#include "device/parameters.h"

enum { PATCHIFY_THREADS = 256 };

// Latents [samples, channels, 2 rows, 2 columns] and patches [samples, rows * columns, 4 channels].
typedef struct PatchifyParams {
  DEVICE_POINTER(float) latents;
  DEVICE_POINTER(void) patches;  // bf16 or f32; bf16 on the way back
  uint32_t channels;
  uint32_t columns;         // patches beside each other
  uint32_t tokens;          // patches of a sample
  uint32_t channel_stride;  // elements of a patch from channel to channel
  uint32_t pixel_stride;    // and from pixel to pixel
  uint32_t plane_blocks;    // blocks of a plane
} PatchifyParams;
