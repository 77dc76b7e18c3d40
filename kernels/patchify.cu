// Latents [b, channels, h, w] to 2 x 2 patches [b, h/2 * w/2, 4 channels] and back.
//
// A thread has the four pixels of one channel of one patch, a block neighbouring patches of one plane. A patch's
// features are ordered by channel and pixel, whichever comes first: the strides say which.
#include "device/device.cuh"
#include "patchify.h"

// The place of the thread's four pixels.
struct Quad {
  bool exists;
  uint64_t latent;   // of the upper left pixel
  uint64_t below;    // from a pixel to the one below it
  uint64_t feature;  // of the upper left pixel
};

DEVICE Quad quad(const PatchifyParams& p) {
  const uint32_t plane = grid::block_x() / p.plane_blocks;
  const uint32_t token = (grid::block_x() - plane * p.plane_blocks) * PATCHIFY_THREADS + block::thread();
  const uint64_t sample = plane / p.channels;
  const uint32_t channel = plane % p.channels;
  const uint32_t y = token / p.columns;
  const uint32_t x = token - y * p.columns;
  const uint64_t below = 2 * uint64_t(p.columns);
  return {token < p.tokens, plane * (4 * uint64_t(p.tokens)) + 2 * y * below + 2 * x, below,
          (sample * p.tokens + token) * (4 * uint64_t(p.channels)) + channel * uint64_t(p.channel_stride)};
}

template <typename T>
DEVICE void patchify(const PatchifyParams& p) {
  const Quad q = quad(p);
  if (!q.exists) return;
  T* patches = static_cast<T*>(p.patches) + q.feature;
#pragma unroll
  for (uint32_t i = 0; i < 4; ++i) {
    patches[i * p.pixel_stride] = T(p.latents[q.latent + i / 2 * q.below + i % 2]);
  }
}

KERNEL(patchify_bf16, PatchifyParams, PATCHIFY_THREADS) { patchify<bf16>(p); }
KERNEL(patchify_f32, PatchifyParams, PATCHIFY_THREADS) { patchify<float>(p); }

KERNEL(unpatchify, PatchifyParams, PATCHIFY_THREADS) {
  const Quad q = quad(p);
  if (!q.exists) return;
  const bf16* patches = static_cast<const bf16*>(p.patches) + q.feature;
#pragma unroll
  for (uint32_t i = 0; i < 4; ++i) {
    p.latents[q.latent + i / 2 * q.below + i % 2] = float(patches[i * p.pixel_stride]);
  }
}
