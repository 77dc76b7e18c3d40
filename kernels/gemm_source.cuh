// Where the slices of a product's operands come from: segments of the sum over k, each with its own A and B.
//
// A loader copies one operand's part of a slice. What lies beyond the operand's edges is zero: m and n that the tile
// has beyond C, k that the last slice has beyond the segment, and rows of B that no piece has. Operands whose rows
// start at multiples of sixteen bytes are copied asynchronously; others, and those that a mask goes over, pass
// through registers.
#pragma once
#include "device/device.cuh"
#include "gemm.h"
#include "gemm_mainloop.cuh"

namespace gemm {

DEVICE void clear(bf16& value) { value = bf16(0.0f); }
DEVICE void clear(float& value) { value = 0.0f; }

// The mask of a product without dropout.
struct KeepAll {
  static constexpr bool KEEPS_ALL = true;
  DEVICE KeepAll(const GemmParams&, const GemmProblem&) {}
  template <class Values>
  DEVICE void apply(Values&, uint32_t, uint32_t) const {}
};

// The mask of dropped elements of X, remade from the counters.
struct Dropout {
  static constexpr bool KEEPS_ALL = false;
  const GemmDropout& p;
  const uint32_t adapter;

  DEVICE Dropout(const GemmParams& p, const GemmProblem& problem) : p(p.dropout), adapter(problem.adapter) {}

  // Clears the dropped elements among those of `row` from `column` on.
  template <class Values>
  DEVICE void apply(Values& x, uint32_t row, uint32_t column) const {
    const StepHeader& step = *p.state;
    const uint32_t sample = step.first_sample + row / p.rows_a_sample;
    const Stream stream(step.seed[0], step.seed[1], Purpose::LORA_DROPOUT, adapter, step.step, sample);
    uint64_t element = uint64_t(row % p.rows_a_sample) * p.columns + column;
#pragma unroll
    for (int i = 0; i < CHUNK; ++i, ++element)
      if (stream.uniform(element) < p.probability) clear(x[i]);
  }
};

// Copies `count` elements (none if it is negative), and zeros up to a whole chunk.
template <class Mask>
DEVICE void copy_chunk(bf16* to, const bf16* from, int count, bool vector, const Mask& mask, uint32_t row,
                                  uint32_t column) {
  if (Mask::KEEPS_ALL && vector) {
    cp_async::copy_16(to, from, count > 0);
    return;
  }
  Vector<bf16, CHUNK> x;
  if (vector && count > 0) {
    x.load(from);
  } else {
#pragma unroll
    for (int i = 0; i < CHUNK; ++i) x[i] = i < count ? from[i] : bf16(0.0f);
  }
  mask.apply(x, row, column);
  x.store(to);
}

// An operand [outer][k], k next to k.
template <class Tile, int OUTER, class Mask>
struct RowLoader {
  using Layout = KContiguous<OUTER>;
  static constexpr int CHUNKS = BLOCK_K / CHUNK;
  static constexpr int STEP = Tile::THREADS / CHUNKS;  // rows between two of a thread's
  static constexpr int ROWS = OUTER / STEP;

  const bf16* next;    // this thread's chunk of its first row, in the next slice
  uint64_t stride;     // elements between two of its rows
  uint32_t present;    // a bit for each of its rows that the operand has
  uint32_t first;      // its first row
  uint32_t column;     // of the chunk

  static DEVICE int row() { return block::thread() / CHUNKS; }
  static DEVICE int chunk() { return block::thread() % CHUNKS; }

  // The tile's rows from `tile` on, of an operand that has those from `begin` to `end`, from column `k` on.
  DEVICE void open(const bf16* operand, uint32_t ld, uint32_t tile, uint32_t begin, uint32_t end, uint32_t k) {
    first = tile + row() - begin;
    column = k + chunk() * CHUNK;
    stride = uint64_t(STEP) * ld;
    present = 0;
#pragma unroll
    for (int i = 0; i < ROWS; ++i)
      if (tile + row() + i * STEP >= begin && tile + row() + i * STEP < end) present |= 1u << i;
    // Wraps around for rows before the operand's first, which are not touched.
    next = operand + (int64_t(int32_t(first)) * ld + column);
  }

  // Copies `left` columns of the next slice.
  DEVICE void load(bf16* to, uint32_t left, bool vector, const Mask& mask) {
    const int count = int(left) - chunk() * CHUNK;
    bf16* place = to + Layout::place(row(), chunk());
#pragma unroll
    for (int i = 0; i < ROWS; ++i)
      copy_chunk(place + i * STEP * BLOCK_K, next + i * stride, present >> i & 1 ? count : 0, vector, mask,
                 first + i * STEP, column);
    next += BLOCK_K;
    column += BLOCK_K;
  }
};

// An operand [k][outer], outer next to outer.
template <class Tile, int OUTER, class Mask>
struct ColumnLoader {
  using Layout = OuterContiguous<OUTER>;
  static constexpr int CHUNKS = OUTER / CHUNK;
  static constexpr int STEP = Tile::THREADS / CHUNKS;  // rows between two of a thread's
  static constexpr int ROWS = BLOCK_K / STEP;

  const bf16* next;  // this thread's chunk of its first row, in the next slice
  uint64_t ld;
  int count;         // elements of the chunk that the operand has
  uint32_t first;    // row of the next slice
  uint32_t column;   // of the chunk

  static DEVICE int row() { return block::thread() / CHUNKS; }
  static DEVICE int chunk() { return block::thread() % CHUNKS; }

  // The tile's columns from `tile` on, of an operand that has those from `begin` to `end`, from row `k` on.
  DEVICE void open(const bf16* operand, uint32_t ld, uint32_t tile, uint32_t begin, uint32_t end, uint32_t k) {
    this->ld = ld;
    first = k + row();
    column = tile + chunk() * CHUNK;
    count = int(end) - int(column);
    next = operand + uint64_t(first) * ld + column;
  }

  // Copies `left` rows of the next slice.
  DEVICE void load(bf16* to, uint32_t left, bool vector, const Mask& mask) {
    bf16* place = to + Layout::place(row(), chunk());
#pragma unroll
    for (int i = 0; i < ROWS; ++i)
      copy_chunk(place + i * STEP * OUTER, next + i * STEP * ld, uint32_t(row() + i * STEP) < left ? count : 0, vector,
                 mask, first + i * STEP, column);
    next += BLOCK_K * ld;
    first += BLOCK_K;
  }
};

// A problem's segments, one after another, for the tile at `row`, `column` of C. Segments that add nothing to the
// tile's columns are left out.
template <class Tile, class A, class B, class MaskA, class MaskB>
struct SegmentSource {
  using LayoutA = typename A::Layout;
  using LayoutB = typename B::Layout;

  const GemmParams& p;
  const GemmProblem& problem;
  const MaskA mask_a;
  const MaskB mask_b;
  const uint32_t row, column;
  uint32_t segment;  // the next one
  uint32_t left;     // k's of this one
  uint32_t vectors;
  A a;
  B b;

  DEVICE SegmentSource(const GemmParams& p, const GemmProblem& problem, uint32_t row, uint32_t column)
      : p(p), problem(problem), mask_a(p, problem), mask_b(p, problem), row(row), column(column),
        segment(problem.first_segment), left(0) {}

  // Slices of a segment that matter to the tile.
  DEVICE uint32_t slices(uint32_t segment) const {
    const GemmSegment& it = p.segments[segment];
    const bool meets = it.begin < column + Tile::BLOCK_N && column < it.end;
    return meets ? (it.k + BLOCK_K - 1) / BLOCK_K : 0;
  }

  // Slices of the problem's first `segments` segments.
  DEVICE uint32_t slices_before(uint32_t segments) const {
    uint32_t sum = 0;
    for (uint32_t i = 0; i < segments; ++i) sum += slices(problem.first_segment + i);
    return sum;
  }

  // Opens the next segment that matters, leaving out its first `skipped` slices.
  DEVICE void open(uint32_t skipped) {
    while (slices(segment) == 0) ++segment;
    const GemmSegment& it = p.segments[segment++];
    const uint32_t k = skipped * BLOCK_K;
    left = it.k - k;
    vectors = it.vectors;
    a.open(it.a, it.lda, row, 0, problem.m, k);
    b.open(it.b, it.ldb, column, it.begin, min(it.end, problem.n), k);
  }

  // Leaves out the next `count` slices of all.
  DEVICE void skip(uint32_t count) {
    while (count >= slices(segment) && count > 0) count -= slices(segment++);
    if (count > 0) open(count);
  }

  DEVICE void load(bf16* stage) {
    if (left == 0) open(0);
    a.load(stage, left, vectors & GEMM_VECTOR_A, mask_a);
    b.load(stage + Tile::A_ELEMENTS, left, vectors & GEMM_VECTOR_B, mask_b);
    left -= min(left, uint32_t(BLOCK_K));
  }
};

}  // namespace gemm
