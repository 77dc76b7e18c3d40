// GroupNorm of some neighbouring channels of a picture whose statistics are known, and SiLU where it follows:
//   y = silu((x - mean) rstd weight + bias).
#pragma once
#include "device/device.cuh"
#include "group_norm.h"

// The norm of WIDTH channels from `channel` on, those from `channels` on being zero.
template <int WIDTH>
struct Norm {
  float mean[WIDTH], scale[WIDTH], shift[WIDTH];
  bool silu;

  DEVICE Norm(const NormParams& p, uint64_t picture, uint32_t channel, uint32_t channels) : silu(p.silu != 0) {
    const float* statistics = p.statistics + picture * p.groups * 2;
    const uint32_t width = channels / p.groups;
#pragma unroll
    for (int i = 0; i < WIDTH; ++i) {
      const bool there = channel + i < channels;
      const uint32_t c = there ? channel + i : 0;
      mean[i] = statistics[c / width * 2];
      scale[i] = there ? statistics[c / width * 2 + 1] * float(p.weight[c]) : 0.0f;
      shift[i] = there ? float(p.bias[c]) : 0.0f;
    }
  }

  DEVICE float operator()(int i, float x) const {
    const float y = (x - mean[i]) * scale[i] + shift[i];
    return silu ? y * fast::sigmoid(y) : y;
  }
};
