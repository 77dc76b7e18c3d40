// The main loop of every matrix product: a block's tile of C[m, n] = A[m, k] B[k, n], bf16 with f32 sums.
//
// Slices of BLOCK_K of both operands pass through a ring of STAGES in shared memory; STAGES - 1 slices are on their
// way while one is used, and the fragments of the next half slice are read while those of this one are multiplied.
// Where the slices come from is the source's business: it is asked for them one after another and copies each into
// its stage of the ring, so a convolution brings a source of its own.
//
// In shared memory an operand lies as it does in global memory, k next to k or outer next to outer (the outer of A is
// m, that of B is n), in chunks of sixteen bytes whose places are permuted, so that neither the copies nor ldmatrix
// meet a bank twice.
#pragma once
#include "device/device.cuh"

namespace gemm {

constexpr int BLOCK_K = 32;
constexpr int CHUNK = 8;  // elements of sixteen bytes

// A block's tile and how its warps share it: each has the same number of rows and 64 columns.
template <int BLOCK_M_, int BLOCK_N_, int WARPS_M_, int STAGES_>
struct Tile {
  static constexpr int BLOCK_M = BLOCK_M_;
  static constexpr int BLOCK_N = BLOCK_N_;
  static constexpr int STAGES = STAGES_;
  static constexpr int WARP_N = 64;
  static constexpr int WARPS_M = WARPS_M_;
  static constexpr int WARPS_N = BLOCK_N / WARP_N;
  static constexpr int WARP_M = BLOCK_M / WARPS_M;
  static constexpr int WARPS = WARPS_M * WARPS_N;
  static constexpr int THREADS = 32 * WARPS;
  static constexpr int MMA_M = WARP_M / 16;
  static constexpr int MMA_N = WARP_N / 8;
  static constexpr int A_ELEMENTS = BLOCK_M * BLOCK_K;
  static constexpr int STAGE_ELEMENTS = (BLOCK_M + BLOCK_N) * BLOCK_K;

  // First row and column of this warp's part.
  static DEVICE int warp_row() { return warp::index() % WARPS_M * WARP_M; }
  static DEVICE int warp_column() { return warp::index() / WARPS_M * WARP_N; }
};

// A warp's sums, in the fragments of mma: element [i][j] holds rows lane / 4 (+ 8) and columns lane % 4 * 2 (+ 1) of
// the 16 x 8 part at row 16 i, column 8 j.
template <class Tile>
struct Sums {
  float fragment[Tile::MMA_M][Tile::MMA_N][4];

  DEVICE void clear() {
#pragma unroll
    for (int i = 0; i < Tile::MMA_M; ++i)
#pragma unroll
      for (int j = 0; j < Tile::MMA_N; ++j)
#pragma unroll
        for (int e = 0; e < 4; ++e) fragment[i][j][e] = 0.0f;
  }
};

// How a slice lies in shared memory, places counted in elements. `place` is that of a chunk. Fragments are read from a
// lane's own place at fragment 0 of step 0, from which `fragment` finds the others: the distance within a permuted row
// is an exclusive or.

// [outer][k]: rows of four chunks, so two rows fill the 32 banks.
template <int OUTER>
struct KContiguous {
  static DEVICE int place(int outer, int chunk) {
    return outer * BLOCK_K + ((chunk ^ ((outer >> 1) & 3)) * CHUNK);
  }
  static DEVICE int lane_of_a(int row) { return place(row + warp::lane() % 16, warp::lane() / 16); }
  static DEVICE int lane_of_b(int column) {
    return place(column + warp::lane() / 16 * 8 + warp::lane() % 8, warp::lane() / 8 % 2);
  }
  static DEVICE int fragment(int lane, int i, int step) { return (lane ^ (step * 16)) + i * 16 * BLOCK_K; }
  static DEVICE void read(uint32_t (&out)[4], const bf16* from) { ldmatrix_x4(out, from); }
};

// [k][outer]: rows of OUTER / 8 chunks.
template <int OUTER>
struct OuterContiguous {
  static DEVICE int place(int k, int chunk) { return k * OUTER + ((chunk ^ (k & 7)) * CHUNK); }
  static DEVICE int lane_of_a(int row) {
    return place(warp::lane() / 16 * 8 + warp::lane() % 8, row / CHUNK + warp::lane() / 8 % 2);
  }
  static DEVICE int lane_of_b(int column) { return place(warp::lane() % 16, column / CHUNK + warp::lane() / 16); }
  static DEVICE int fragment(int lane, int i, int step) { return (lane ^ (i * 16)) + step * 16 * OUTER; }
  static DEVICE void read(uint32_t (&out)[4], const bf16* from) { ldmatrix_x4_transposed(out, from); }
};

// What one step of sixteen k's multiplies: 16 x 16 parts of A, and 16 x 8 parts of B, two of which are read at once.
template <class Tile>
struct Fragments {
  uint32_t a[Tile::MMA_M][4];
  uint32_t b[Tile::MMA_N][2];

  template <class LayoutA, class LayoutB>
  DEVICE void load(const bf16* stage, int lane_a, int lane_b, int step) {
#pragma unroll
    for (int i = 0; i < Tile::MMA_M; ++i) LayoutA::read(a[i], stage + LayoutA::fragment(lane_a, i, step));
#pragma unroll
    for (int j = 0; j < Tile::MMA_N; j += 2) {
      uint32_t pair[4];
      LayoutB::read(pair, stage + Tile::A_ELEMENTS + LayoutB::fragment(lane_b, j / 2, step));
      b[j][0] = pair[0], b[j][1] = pair[1], b[j + 1][0] = pair[2], b[j + 1][1] = pair[3];
    }
  }
};

// Adds the products of the source's next `slices` slices to `sums`; `before(slice)` runs before a slice is used.
//
// A source says how its operands lie in shared memory (LayoutA, LayoutB) and has `load(bf16* stage)`, called once a
// slice, in order, which fills a stage by asynchronous copies or plain stores. When the loop is done nobody reads the
// ring any more.
template <class Tile, class Source, class Before>
DEVICE void mainloop(Sums<Tile>& sums, Source& source, bf16* ring, int slices, Before&& before) {
  using LayoutA = typename Source::LayoutA;
  using LayoutB = typename Source::LayoutB;
  constexpr int STAGES = Tile::STAGES, STAGE = Tile::STAGE_ELEMENTS;
  const int lane_a = LayoutA::lane_of_a(Tile::warp_row());
  const int lane_b = LayoutB::lane_of_b(Tile::warp_column());
#pragma unroll 1
  for (int stage = 0; stage < STAGES - 1; ++stage) {
    if (stage < slices) source.load(ring + stage * STAGE);
    cp_async::commit();
  }
  cp_async::wait<STAGES - 2>();
  block::sync();
  Fragments<Tile> first, second;
  if (slices > 0) first.template load<LayoutA, LayoutB>(ring, lane_a, lane_b, 0);
  int reading = 0, writing = (STAGES - 1) * STAGE;
#pragma unroll 1
  for (int slice = 0; slice < slices; ++slice) {
    before(slice);
    second.template load<LayoutA, LayoutB>(ring + reading, lane_a, lane_b, 1);
    if (slice + STAGES - 1 < slices) source.load(ring + writing);
    cp_async::commit();
    reading = reading == (STAGES - 1) * STAGE ? 0 : reading + STAGE;
    writing = writing == (STAGES - 1) * STAGE ? 0 : writing + STAGE;
    mma_tile(sums.fragment, first.a, first.b);
    // The next slice has landed, and every warp holds what it needs of this one.
    cp_async::wait<STAGES - 2>();
    block::sync();
    if (slice + 1 < slices) first.template load<LayoutA, LayoutB>(ring + reading, lane_a, lane_b, 0);
    mma_tile(sums.fragment, second.a, second.b);
  }
}

}  // namespace gemm
