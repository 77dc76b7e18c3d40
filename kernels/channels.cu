// Planes of channels to pixels of channels and back. A thread has eight channels of one pixel: sixteen bytes of the
// pixel (or thirty-two, in f32), and an element of each of eight planes, which the warp's threads continue. The grid is (pixels, octets of
// channels, pictures).
#include "channels.h"
#include "device/device.cuh"

namespace channels {

constexpr int WIDTH = CHANNELS_A_THREAD;

DEVICE uint64_t pixel_of_thread() { return uint64_t(grid::block_x()) * CHANNELS_THREADS + block::thread(); }

template <typename T>
DEVICE void to_pixels(const ChannelsLastParams& p) {
  const uint64_t pixel = pixel_of_thread(), picture = grid::block_z();
  if (pixel >= p.area) return;
  const uint32_t first = grid::block_y() * WIDTH;
  const float* plane = p.planes + (picture * p.channels + first) * p.area + pixel;
  T* out = static_cast<T*>(p.pixels) + (picture * p.area + pixel) * p.channels + first;
  Vector<T, WIDTH> values;
#pragma unroll
  for (int i = 0; i < WIDTH; ++i) values[i] = T(first + i < p.channels ? plane[i * p.area] : 0.0f);
  if (p.aligned && first + WIDTH <= p.channels) {
    values.store(out);
  } else {
#pragma unroll
    for (int i = 0; i < WIDTH; ++i) {
      if (first + i < p.channels) out[i] = values[i];
    }
  }
}

template <typename T>
DEVICE void to_planes(const ChannelsFirstParams& p) {
  const uint64_t pixel = pixel_of_thread(), picture = grid::block_z();
  if (pixel >= p.area) return;
  const uint32_t first = grid::block_y() * WIDTH;
  const T* from = static_cast<const T*>(p.pixels) + (picture * p.area + pixel) * p.channels + p.first + first;
  float* plane = p.planes + (picture * p.taken + first) * p.area + pixel;
  Vector<T, WIDTH> values;
  if (p.aligned && first + WIDTH <= p.taken) {
    values.load(from);
  } else {
#pragma unroll
    for (int i = 0; i < WIDTH; ++i) values[i] = first + i < p.taken ? from[i] : T(0.0f);
  }
#pragma unroll
  for (int i = 0; i < WIDTH; ++i) {
    if (first + i >= p.taken) break;
    // As on the processor, what is not a number stays so.
    const float value = float(values[i]);
    plane[i * p.area] = value < p.least ? p.least : value > p.greatest ? p.greatest : value;
  }
}

}  // namespace channels

KERNEL(channels_last, ChannelsLastParams, CHANNELS_THREADS) { channels::to_pixels<bf16>(p); }
KERNEL(channels_last_f32, ChannelsLastParams, CHANNELS_THREADS) { channels::to_pixels<float>(p); }
KERNEL(channels_first, ChannelsFirstParams, CHANNELS_THREADS) { channels::to_planes<bf16>(p); }
KERNEL(channels_first_f32, ChannelsFirstParams, CHANNELS_THREADS) { channels::to_planes<float>(p); }
