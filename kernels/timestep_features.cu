// Sinusoidal features of the timestep: cos(t f_k), then sin(t f_k), f_k = 10000^(-k / (n / 2)).
//
// A thread has one feature. Functions are the precise ones, since t f_k reaches a thousand radians. A feature without
// a partner, at the end of an odd number of them, is zero.
#include "device/device.cuh"
#include "timestep_features.h"

template <typename T>
DEVICE void timestep_features(const TimestepFeaturesParams& p) {
  const uint64_t index = uint64_t(grid::block_x()) * TIMESTEP_FEATURES_THREADS + block::thread();
  const uint64_t sample = index / p.count;
  if (sample >= p.samples) return;
  constexpr float LN_10000 = 9.2103404f;
  const uint32_t feature = index % p.count;
  const uint32_t half = p.count / 2;
  const bool is_cosine = feature < half;
  const uint32_t k = is_cosine ? feature : feature - half;
  const float angle = p.timesteps[sample] * math::exp(-LN_10000 * float(k) / float(half));
  const float value = is_cosine ? math::cos(angle) : math::sin(angle);
  static_cast<T*>(p.features)[index] = T(k < half ? value : 0.0f);
}

KERNEL(timestep_features_bf16, TimestepFeaturesParams, TIMESTEP_FEATURES_THREADS) { timestep_features<bf16>(p); }
KERNEL(timestep_features_f32, TimestepFeaturesParams, TIMESTEP_FEATURES_THREADS) { timestep_features<float>(p); }
