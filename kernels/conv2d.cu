// Convolution of channels-last pictures as a product of windows with kernels (implicit GEMM), on the main loop of the
// matrix products: any kernel, stride, padding and number of channels, nearest enlargement and GroupNorm + SiLU in front
// of it, a bias, and a residual that is added to.
#include "conv2d.h"
#include "conv2d_source.cuh"
#include "device/device.cuh"
#include "gemm_epilogue.cuh"
#include "gemm_mainloop.cuh"

namespace conv2d {

// Adds bias and residual to eight channels of an output pixel and writes them as T.
template <typename T>
DEVICE void store(gemm::Octet y, const Conv2dParams& p, uint32_t pixel, uint32_t output) {
  if (pixel >= p.out_area || output >= p.outputs) return;
  const bool vector = p.vectors & CONV2D_VECTOR_Y;
  T* out = static_cast<T*>(p.y) + (uint64_t(grid::block_y()) * p.out_area + pixel) * p.outputs;
  const gemm::Octet bias = gemm::load_octet<bf16>(p.bias, output, p.outputs, vector);
#pragma unroll
  for (int i = 0; i < CHUNK; ++i) y[i] += bias[i];
  if (p.accumulate) {
    const gemm::Octet residual = gemm::load_octet<T>(out, output, p.outputs, vector);
#pragma unroll
    for (int i = 0; i < CHUNK; ++i) y[i] += residual[i];
  }
  gemm::store_octet<T>(out, output, p.outputs, vector, y);
}

// Adds up `slices` slices.
template <class Tile, typename T = bf16, class Source>
DEVICE void convolve(const Conv2dParams& p, Source& source, bf16* ring, uint32_t slices, uint32_t row,
                     uint32_t column) {
  gemm::Sums<Tile> sums;
  sums.clear();
  gemm::mainloop<Tile>(sums, source, ring, int(slices), [](int) {});
  gemm::for_each_octet<Tile>(sums, ring, row, column, [&](uint32_t pixel, uint32_t output, const gemm::Octet& y) {
    store<T>(y, p, pixel, output);
  });
}

template <class Tile>
DEVICE void plain(const Conv2dParams& p) {
  DYNAMIC_SHARED(shared);
  const uint32_t row = grid::block_x() / p.tiles_n * Tile::BLOCK_M, column = grid::block_x() % p.tiles_n * Tile::BLOCK_N;
  Plain<Tile> source(p, row, column);
  convolve<Tile>(p, source, reinterpret_cast<bf16*>(shared), slices(p), row, column);
}

template <class Tile>
DEVICE void normed(const Conv2dParams& p) {
  DYNAMIC_SHARED(shared);
  const uint32_t row = grid::block_x() / p.tiles_n * Tile::BLOCK_M, column = grid::block_x() % p.tiles_n * Tile::BLOCK_N;
  bf16* ring = reinterpret_cast<bf16*>(shared);
  NormTable table;
  table.fill(reinterpret_cast<float*>(ring + Tile::STAGES * Tile::STAGE_ELEMENTS), p);
  block::sync();
  Normed<Tile> source(p, table, row, column);
  convolve<Tile>(p, source, ring, slices(p), row, column);
}

template <class Tile>
DEVICE void exact(const Conv2dParams& p) {
  DYNAMIC_SHARED(shared);
  const uint32_t row = grid::block_x() / p.tiles_n * Tile::BLOCK_M, column = grid::block_x() % p.tiles_n * Tile::BLOCK_N;
  bf16* ring = reinterpret_cast<bf16*>(shared);
  NormTable table = {};
  if (p.norm.statistics) table.fill(reinterpret_cast<float*>(ring + Tile::STAGES * Tile::STAGE_ELEMENTS), p);
  block::sync();
  Exact<Tile> source(p, table, row, column);
  convolve<Tile, float>(p, source, ring, 2 * slices(p), row, column);
}

}  // namespace conv2d

KERNEL(conv2d_128x256, Conv2dParams, 256) { conv2d::plain<gemm::Tile<128, 256, 2, 3>>(p); }
KERNEL(conv2d_128x128, Conv2dParams, 128) { conv2d::plain<gemm::Tile<128, 128, 2, 4>>(p); }
KERNEL(conv2d_64x64, Conv2dParams, 128) { conv2d::plain<gemm::Tile<64, 64, 4, 4>>(p); }
KERNEL(conv2d_norm_128x256, Conv2dParams, 256) { conv2d::normed<gemm::Tile<128, 256, 2, 3>>(p); }
KERNEL(conv2d_norm_128x128, Conv2dParams, 256) { conv2d::normed<gemm::Tile<128, 128, 4, 4>>(p); }
KERNEL(conv2d_norm_64x64, Conv2dParams, 128) { conv2d::normed<gemm::Tile<64, 64, 4, 4>>(p); }
KERNEL(conv2d_exact_128x128, Conv2dParams, 256) { conv2d::exact<gemm::Tile<128, 128, 4, 4>>(p); }
