// Where the slices of a convolution's operands come from: row m of A is the window of output pixel m, column n of B the
// kernel of output channel n, and k runs over the window's taps and, within a tap, over its channels. No window is ever
// written out.
//
// A slice is a part of one tap's channels; what the last slice of a tap has beyond them is zero. Where a norm stands in
// front of the convolution, pixels pass through registers: those of a slice are asked for while the slice before is
// normalised, so that nobody waits for memory; so do pixels of f32, which are multiplied in two parts. Zeros around the picture are those of the normalised picture.
#pragma once
#include "conv2d.h"
#include "device/device.cuh"
#include "gemm_mainloop.cuh"
#include "norm.cuh"

namespace conv2d {

using gemm::BLOCK_K;
using gemm::CHUNK;

// A slice's place in the window.
struct Tap {
  uint32_t row, column, channel;

  DEVICE void next(const Conv2dParams& p) {
    channel += BLOCK_K;
    if (channel < p.channels) return;
    channel = 0;
    if (++column < p.kernel_columns) return;
    column = 0;
    ++row;
  }
};

// The first `count` of eight elements (none if it is negative), and zeros.
template <typename T>
DEVICE Vector<T, CHUNK> load_chunk(const T* from, int count, bool vector) {
  Vector<T, CHUNK> values;
  if (vector && count > 0) {
    values.load(from);
  } else {
#pragma unroll
    for (int i = 0; i < CHUNK; ++i) values[i] = i < count ? from[i] : T(0.0f);
  }
  return values;
}

// Copies those to shared memory, asynchronously where they are aligned.
DEVICE void copy_chunk(bf16* to, const bf16* from, int count, bool vector) {
  if (vector) {
    cp_async::copy_16(to, from, count > 0);
  } else {
    load_chunk(from, count, false).store(to);
  }
}

DEVICE uint32_t slices(const Conv2dParams& p) {
  return p.kernel_rows * p.kernel_columns * ((p.channels + BLOCK_K - 1) / BLOCK_K);
}

// The norm of every channel of the block's picture, y = silu(x scale + shift), in shared memory; zero beyond the last.
struct NormTable {
  float* scale;
  float* shift;
  bool silu;

  // Whole slices.
  static DEVICE uint32_t length(const Conv2dParams& p) { return (p.channels + BLOCK_K - 1) / BLOCK_K * BLOCK_K; }

  // All threads of the block take part, and synchronise before they use it.
  DEVICE void fill(float* shared, const Conv2dParams& p) {
    scale = shared;
    shift = shared + length(p);
    silu = p.norm.silu != 0;
    for (uint32_t channel = block::thread(); channel < length(p); channel += block::threads()) {
      const Norm<1> norm(p.norm, grid::block_y(), channel, p.channels);
      scale[channel] = norm.scale[0];
      shift[channel] = norm.shift[0] - norm.mean[0] * norm.scale[0];
    }
  }

  // Normalises eight channels from `channel` on.
  template <typename T>
  DEVICE void apply(Vector<T, CHUNK>& x, uint32_t channel) const {
    Vector<float, CHUNK> scales, shifts;
    scales.load(scale + channel);
    shifts.load(shift + channel);
#pragma unroll
    for (int i = 0; i < CHUNK; ++i) {
      const float y = float(x[i]) * scales[i] + shifts[i];
      x[i] = T(silu ? y * fast::sigmoid(y) : y);
    }
  }
};

// Windows of the block's output pixels, whose elements are of type T: A.
template <class Tile, typename T = bf16>
struct Windows {
  using Layout = gemm::KContiguous<Tile::BLOCK_M>;
  static constexpr int CHUNKS = BLOCK_K / CHUNK;
  static constexpr int STEP = Tile::THREADS / CHUNKS;  // output pixels between two of a thread's
  static constexpr int ROWS = Tile::BLOCK_M / STEP;

  const T* picture;
  int32_t y[ROWS], x[ROWS];  // of each window's first pixel in the enlarged picture

  static DEVICE int row() { return block::thread() / CHUNKS; }
  static DEVICE int chunk() { return block::thread() % CHUNKS; }

  DEVICE void open(const Conv2dParams& p, uint32_t first) {
    constexpr int32_t NOWHERE = -(1 << 30);
    picture = static_cast<const T*>(p.x) + uint64_t(grid::block_y()) * p.height * p.width * p.channels;
#pragma unroll
    for (int i = 0; i < ROWS; ++i) {
      const uint32_t pixel = first + row() + i * STEP;
      y[i] = pixel < p.out_area ? int32_t(pixel / p.out_width * p.stride) - int32_t(p.top) : NOWHERE;
      x[i] = int32_t(pixel % p.out_width * p.stride) - int32_t(p.left);
    }
  }

  // Whether a window's pixel at `tap` is in the picture; then `from` is the thread's chunk of it.
  DEVICE bool find(const T*& from, const Conv2dParams& p, const Tap& tap, int i) const {
    const uint32_t row = uint32_t(y[i] + int32_t(tap.row)) >> p.enlargement;
    const uint32_t column = uint32_t(x[i] + int32_t(tap.column)) >> p.enlargement;
    from = picture + ((uint64_t(row) * p.width + column) * p.channels + tap.channel + chunk() * CHUNK);
    return row < p.height && column < p.width;
  }

  // Copies the chunks of a slice into its stage.
  DEVICE void copy(bf16* stage, const Conv2dParams& p, const Tap& tap) const {
    const int count = int(p.channels - tap.channel) - chunk() * CHUNK;
    bf16* place = stage + Layout::place(row(), chunk());
#pragma unroll
    for (int i = 0; i < ROWS; ++i) {
      const bf16* from;
      const bool inside = find(from, p, tap, i);
      copy_chunk(place + i * STEP * BLOCK_K, from, inside ? count : 0, p.vectors & CONV2D_VECTOR_X);
    }
  }
};

// Kernels of the block's output channels: B.
template <class Tile>
struct Kernels {
  using Layout = gemm::KContiguous<Tile::BLOCK_N>;
  static constexpr int STEP = Windows<Tile>::STEP;
  static constexpr int ROWS = Tile::BLOCK_N / STEP;

  uint32_t first;  // the thread's first output channel

  DEVICE void open(uint32_t tile) { first = tile + Windows<Tile>::row(); }

  DEVICE void copy(bf16* stage, const Conv2dParams& p, const Tap& tap) const {
    const int chunk = Windows<Tile>::chunk();
    const int count = int(p.channels - tap.channel) - chunk * CHUNK;
    const uint64_t taps = p.kernel_rows * p.kernel_columns;
    const uint64_t column = uint64_t(tap.row * p.kernel_columns + tap.column) * p.channels + tap.channel + chunk * CHUNK;
    bf16* place = stage + Layout::place(Windows<Tile>::row(), chunk);
#pragma unroll
    for (int i = 0; i < ROWS; ++i) {
      const uint32_t output = first + i * STEP;
      const bf16* from = p.weight + (output * taps * p.channels + column);
      copy_chunk(place + i * STEP * BLOCK_K, from, output < p.outputs ? count : 0, p.vectors & CONV2D_VECTOR_WEIGHT);
    }
  }
};

// Both operands, pixels as they are.
template <class Tile>
struct Plain {
  using LayoutA = typename Windows<Tile>::Layout;
  using LayoutB = typename Kernels<Tile>::Layout;

  const Conv2dParams& p;
  Windows<Tile> windows;
  Kernels<Tile> kernels;
  Tap tap = {0, 0, 0};

  DEVICE Plain(const Conv2dParams& p, uint32_t row, uint32_t column) : p(p) {
    windows.open(p, row);
    kernels.open(column);
  }

  DEVICE void load(bf16* stage) {
    windows.copy(stage, p, tap);
    kernels.copy(stage + Tile::A_ELEMENTS, p, tap);
    tap.next(p);
  }
};

// Both operands, pixels normalised on the way.
template <class Tile>
struct Normed : Plain<Tile> {
  static constexpr int ROWS = Windows<Tile>::ROWS;

  NormTable table;
  Vector<bf16, CHUNK> held[ROWS];  // the next slice's chunks as they lie in memory
  uint32_t inside = 0;             // a bit for each that is in the picture

  DEVICE Normed(const Conv2dParams& p, const NormTable& table, uint32_t row, uint32_t column)
      : Plain<Tile>(p, row, column), table(table) {
    fetch();
  }

  // Asks for the next slice's chunks.
  DEVICE void fetch() {
    const Conv2dParams& p = this->p;
    const int count = int(p.channels - this->tap.channel) - Windows<Tile>::chunk() * CHUNK;
    inside = 0;
#pragma unroll
    for (int i = 0; i < ROWS; ++i) {
      const bf16* from;
      const bool found = this->windows.find(from, p, this->tap, i) && this->tap.row < p.kernel_rows;
      if (found) inside |= 1u << i;
      held[i] = load_chunk(from, found ? count : 0, p.vectors & CONV2D_VECTOR_X);
    }
  }

  DEVICE void load(bf16* stage) {
    const int row = Windows<Tile>::row(), chunk = Windows<Tile>::chunk();
    bf16* place = stage + Windows<Tile>::Layout::place(row, chunk);
#pragma unroll
    for (int i = 0; i < ROWS; ++i) {
      if (inside >> i & 1) table.apply(held[i], this->tap.channel + chunk * CHUNK);
      held[i].store(place + i * Windows<Tile>::STEP * BLOCK_K);
    }
    this->kernels.copy(stage + Tile::A_ELEMENTS, this->p, this->tap);
    this->tap.next(this->p);
    fetch();
  }
};

// Both operands, pixels of f32, normalised where there is a norm. The window runs by twice: pixels rounded to bf16 at
// first, then what rounding left of them, so that their products with bf16 kernels lose next to nothing.
template <class Tile>
struct Exact {
  using LayoutA = typename Windows<Tile, float>::Layout;
  using LayoutB = typename Kernels<Tile>::Layout;
  static constexpr int ROWS = Windows<Tile, float>::ROWS;

  const Conv2dParams& p;
  const NormTable table;
  Windows<Tile, float> windows;
  Kernels<Tile> kernels;
  Tap tap = {0, 0, 0};
  bool rest = false;                // whether it is the second time
  Vector<float, CHUNK> held[ROWS];  // the next slice's chunks as they lie in memory
  uint32_t inside = 0;              // a bit for each that is in the picture

  DEVICE Exact(const Conv2dParams& p, const NormTable& table, uint32_t row, uint32_t column) : p(p), table(table) {
    windows.open(p, row);
    kernels.open(column);
    fetch();
  }

  // Asks for the next slice's chunks.
  DEVICE void fetch() {
    const int count = int(p.channels - tap.channel) - Windows<Tile>::chunk() * CHUNK;
    inside = 0;
#pragma unroll
    for (int i = 0; i < ROWS; ++i) {
      const float* from;
      const bool found = windows.find(from, p, tap, i);
      if (found) inside |= 1u << i;
      held[i] = load_chunk(from, found ? count : 0, p.vectors & CONV2D_VECTOR_X);
    }
  }

  // What of a chunk is multiplied this time.
  DEVICE Vector<bf16, CHUNK> part(const Vector<float, CHUNK>& x) const {
    Vector<bf16, CHUNK> values;
#pragma unroll
    for (int i = 0; i < CHUNK; ++i) {
      const bf16 rounded(x[i]);
      values[i] = rest ? bf16(x[i] - float(rounded)) : rounded;
    }
    return values;
  }

  DEVICE void load(bf16* stage) {
    const int row = Windows<Tile>::row(), chunk = Windows<Tile>::chunk();
    bf16* place = stage + LayoutA::place(row, chunk);
#pragma unroll
    for (int i = 0; i < ROWS; ++i) {
      if (p.norm.statistics && (inside >> i & 1)) table.apply(held[i], tap.channel + chunk * CHUNK);
      part(held[i]).store(place + i * Windows<Tile>::STEP * BLOCK_K);
    }
    kernels.copy(stage + Tile::A_ELEMENTS, p, tap);
    tap.next(p);
    if (tap.row == p.kernel_rows) {
      tap = {0, 0, 0};
      rest = true;
    }
    fetch();
  }
};

}  // namespace conv2d
