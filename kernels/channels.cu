// Planes of channels to pixels of channels and back. A thread has eight channels of one pixel: sixteen bytes of the
// pixel, and an element of each of eight planes, which the warp's threads continue. The grid is (pixels, octets of
// channels, pictures).
#include "channels.h"
#include "device/device.cuh"

namespace channels {

constexpr int WIDTH = CHANNELS_A_THREAD;

DEVICE uint64_t pixel() { return uint64_t(grid::block_x()) * CHANNELS_THREADS + block::thread(); }

}  // namespace channels

KERNEL(channels_last, ChannelsLastParams, CHANNELS_THREADS) {
  constexpr int WIDTH = channels::WIDTH;
  const uint64_t pixel = channels::pixel(), picture = grid::block_z();
  if (pixel >= p.area) return;
  const uint32_t first = grid::block_y() * WIDTH;
  const float* plane = p.planes + (picture * p.channels + first) * p.area + pixel;
  bf16* out = p.pixels + (picture * p.area + pixel) * p.channels + first;
  Vector<bf16, WIDTH> values;
#pragma unroll
  for (int i = 0; i < WIDTH; ++i) values[i] = bf16(first + i < p.channels ? plane[i * p.area] : 0.0f);
  if (p.aligned && first + WIDTH <= p.channels) {
    values.store(out);
  } else {
#pragma unroll
    for (int i = 0; i < WIDTH; ++i) {
      if (first + i < p.channels) out[i] = values[i];
    }
  }
}

KERNEL(channels_first, ChannelsFirstParams, CHANNELS_THREADS) {
  constexpr int WIDTH = channels::WIDTH;
  const uint64_t pixel = channels::pixel(), picture = grid::block_z();
  if (pixel >= p.area) return;
  const uint32_t first = grid::block_y() * WIDTH;
  const bf16* from = p.pixels + (picture * p.area + pixel) * p.channels + p.first + first;
  float* plane = p.planes + (picture * p.taken + first) * p.area + pixel;
  Vector<bf16, WIDTH> values;
  if (p.aligned && first + WIDTH <= p.taken) {
    values.load(from);
  } else {
#pragma unroll
    for (int i = 0; i < WIDTH; ++i) values[i] = first + i < p.taken ? from[i] : bf16(0.0f);
  }
#pragma unroll
  for (int i = 0; i < WIDTH; ++i) {
    if (first + i >= p.taken) break;
    // As on the processor, what is not a number stays so.
    const float value = float(values[i]);
    plane[i * p.area] = value < p.least ? p.least : value > p.greatest ? p.greatest : value;
  }
}
