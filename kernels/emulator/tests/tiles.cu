// Words of sm_90: tile copies, mbarriers, products of warpgroups.
#include "device/device.cuh"
#include "emulator/tests/test.h"

// Copies tiles from map 0 to map 1 through shared memory: one thread loads, waits, and stores. `n` is the dimensions; a
// tile has `bytes`. Blocks are tiles along the outermost dimension, `step` apart; tiles start at -4 in all
// dimensions.
KERNEL(test_tile_copy, EmulatorTestParams, 32) {
  DYNAMIC_SHARED(tile);
  SHARED(Mbarrier, landed, 1);
  if (warp::lane() == 0) {
    mbarrier::init(landed, 1);
    fence::barrier_init();
  }
  warp::sync();
  if (warp::lane() == 0) {
    const int outermost = int(grid::block_x() * p.step) - 4;
    mbarrier::expect_bytes(landed, p.bytes);
    const int one[1] = {outermost}, two[2] = {-4, outermost}, three[3] = {-4, -4, outermost};
    const int four[4] = {-4, -4, -4, outermost};
    if (p.n == 1) tma::load(tile, &p.maps[0], one, landed);
    if (p.n == 2) tma::load(tile, &p.maps[0], two, landed);
    if (p.n == 3) tma::load(tile, &p.maps[0], three, landed);
    if (p.n == 4) tma::load(tile, &p.maps[0], four, landed);
    mbarrier::wait(landed, 0);
    if (p.n == 1) tma::store(&p.maps[1], one, tile);
    if (p.n == 2) tma::store(&p.maps[1], two, tile);
    if (p.n == 3) tma::store(&p.maps[1], three, tile);
    if (p.n == 4) tma::store(&p.maps[1], four, tile);
    tma::commit();
    tma::wait<0>();
  }
}

// y = x, 1024 floats, by a copy of bytes.
// 1: nobody waits; 2: the barrier was never initialised; 3: copies cannot see it; 4: one arrival too many; 5: more
// bytes are expected than come; 6: reads before the phase ends; 7: others use the barrier before it is there.
KERNEL(test_bytes, EmulatorTestParams, 128) {
  DYNAMIC_SHARED(tile);
  SHARED(Mbarrier, landed, 1);
  const int i = block::thread();
  if (i == 0 && p.fault != 2) mbarrier::init(landed, 1);
  if (i == 0 && p.fault != 3) fence::barrier_init();
  if (p.fault != 7) block::sync();
  if (i == 0) {
    mbarrier::expect_bytes(landed, p.fault == 5 ? 8192 : 4096);
    if (p.fault == 4) mbarrier::arrive(landed);
    tma::load_bytes(tile, p.x, 4096, landed);
  }
  if (p.fault != 1 && (p.fault != 6 || i < 32)) mbarrier::wait(landed, 0);
  const float* values = reinterpret_cast<const float*>(tile);
  for (int j = i; j < 1024; j += 128) p.y[j] = values[j];
}

constexpr int STAGES = 2;

// b (128 x 64) = a b^T, depth n (a multiple of 64): map 0 is a, map 1 b, map 2 the result, in tiles of 64 x 64 with
// swizzle 128. Warpgroups 0 and 1 multiply 64 rows each, one thread of the third loads.
// 1: does not wait for free stages; 2: does not wait for full ones; 3: releases a stage before its products are done;
// 4: without wgmma::fence; 5: without fence::async_proxy; 6: reads the sums before they are done; 7: without the barrier
// before the store; 8: never releases.
KERNEL_BOUNDED(test_product, EmulatorTestParams, 384, 1) {
  DYNAMIC_SHARED(memory);
  SHARED(Mbarrier, barriers, 2 * STAGES);
  constexpr int TILE = 64 * 64 * 2;
  unsigned char* const results = memory + STAGES * 3 * TILE;
  auto stage_of = [&](const Ring<STAGES>& ring) { return memory + ring.stage * 3 * TILE; };
  if (block::thread() == 0) Ring<STAGES>::init(barriers, 256);
  block::sync();
  Ring<STAGES> ring(barriers);
  const int steps = int(p.n) / 64;
  if (warpgroup::index() == 2) {
    warpgroup::give_registers<40>();
    if (warpgroup::thread() != 0) return;
    for (int step = 0; step < steps; ++step, ring.next()) {
      if (p.fault != 1) ring.wait_free();
      ring.expect(3 * TILE);
      tma::load(stage_of(ring), &p.maps[0], {step * 64, 0}, ring.full());
      tma::load(stage_of(ring) + TILE, &p.maps[0], {step * 64, 64}, ring.full());
      tma::load(stage_of(ring) + 2 * TILE, &p.maps[1], {step * 64, 0}, ring.full());
    }
    return;
  }
  warpgroup::take_registers<232>();
  float c[32];
  for (int step = 0; step < steps; ++step, ring.next()) {
    if (p.fault != 2) ring.wait_full();
    const auto a = wgmma::Operand::of(stage_of(ring) + warpgroup::index() * TILE, wgmma::Swizzle::BYTES_128, 0, 1024);
    const auto b = wgmma::Operand::of(stage_of(ring) + 2 * TILE, wgmma::Swizzle::BYTES_128, 0, 1024);
    if (p.fault == 3) ring.release();
    if (p.fault != 4) wgmma::fence();
    for (int k = 0; k < 4; ++k) wgmma::multiply<64>(c, a.advance(k * 32), b.advance(k * 32), step + k > 0);
    wgmma::commit();
    if (p.fault != 6 || step + 1 < steps) wgmma::wait<0>();
    wgmma::pin(c);
    if (p.fault != 3 && p.fault != 8) ring.release();
  }
  // Rows of 128 bytes, permuted as map 2 says.
  unsigned char* const result = results + warpgroup::index() * TILE;
  const int lane = warp::lane(), row = warp::index() % 4 * 16 + lane % 16;
  for (int j = 0; j < 4; ++j) {
    const uint32_t four[4] = {pack(c[j * 8], c[j * 8 + 1]), pack(c[j * 8 + 2], c[j * 8 + 3]),
                              pack(c[j * 8 + 4], c[j * 8 + 5]), pack(c[j * 8 + 6], c[j * 8 + 7])};
    stmatrix_x4(result + 16 * swizzle::rows_of_128_bytes(row, 2 * j + lane / 16), four);
  }
  if (p.fault == 6) wgmma::wait<0>();
  if (p.fault != 5) fence::async_proxy();
  if (p.fault != 7) named_barrier::sync(1 + warpgroup::index(), 128);
  if (warpgroup::thread() == 0) {
    tma::store(&p.maps[2], {0, warpgroup::index() * 64}, result);
    tma::commit();
    tma::wait_read<0>();
  }
}

// A (64 x 64, k contiguous) from global memory in registers, for the sixteen k from `k` on.
DEVICE void load_a(uint32_t (&registers)[4], const bf16* a, int k) {
  const int row = warp::index() * 16 + warp::lane() / 4, column = k + warp::lane() % 4 * 2;
  for (int i = 0; i < 4; ++i) {
    const bf16* two = a + (row + i % 2 * 8) * 64 + column + i / 2 * 8;
    registers[i] = pack(float(two[0]), float(two[1]));
  }
}

// The thread's sums of 64 x N to y.
template <int N>
DEVICE void write_sums(float* y, const float (&c)[N / 2]) {
  for (int i = 0; i < N / 2; ++i) {
    const int row = warp::index() * 16 + mma::row(i % 4), column = i / 4 * 8 + mma::column(i % 4);
    y[row * N + column] = c[i];
  }
}

// y (64 x 64) = a b, depth 64, a in registers; b in tiles of 64 x 64 with swizzle 128. 1: without wgmma::fence.
template <wgmma::Major B>
DEVICE void multiply_registers(const EmulatorTestParams& p) {
  DYNAMIC_SHARED(operands);
  SHARED(Mbarrier, landed, 1);
  if (block::thread() == 0) {
    mbarrier::init(landed, 1);
    fence::barrier_init();
    mbarrier::expect_bytes(landed, 64 * 64 * 2);
    tma::load(operands, &p.maps[1], {0, 0}, landed);
  }
  block::sync();
  mbarrier::wait(landed, 0);
  uint32_t a[4][4];
  for (int step = 0; step < 4; ++step) load_a(a[step], p.a, 16 * step);
  const auto b = wgmma::Operand::of(operands, wgmma::Swizzle::BYTES_128, 0, 1024);
  float c[32];
  if (p.fault != 1) wgmma::fence();
  for (int step = 0; step < 4; ++step) {
    const int bytes = B == wgmma::Major::K ? 32 : 16 * 128;
    wgmma::multiply<64, B>(c, a[step], b.advance(step * bytes), step > 0);
  }
  wgmma::commit();
  wgmma::wait<0>();
  wgmma::pin(c);
  write_sums<64>(p.y, c);
}

// y (64 x N) = a b, depth 64, for every layout of the operands. `bytes` is what a row of the swizzle has.
template <int N, wgmma::Major A, wgmma::Major B, wgmma::Swizzle SWIZZLE, int BYTES>
DEVICE void multiply_once(const EmulatorTestParams& p) {
  DYNAMIC_SHARED(operands);
  SHARED(Mbarrier, landed, 1);
  constexpr int ELEMENTS = BYTES / 2, SPAN = BYTES * 8;
  constexpr bool A_K = A == wgmma::Major::K, B_K = B == wgmma::Major::K;
  // Tiles one behind the other: of an operand whose k is contiguous, along k; else along m or n.
  constexpr int A_TILE = BYTES * 64, B_TILE = B_K ? BYTES * N : BYTES * 64, A_BYTES = 64 * 64 * 2;
  constexpr int B_TILES = B_K ? 64 / ELEMENTS : N / ELEMENTS;
  if (block::thread() == 0) {
    mbarrier::init(landed, 1);
    fence::barrier_init();
    mbarrier::expect_bytes(landed, A_BYTES + B_TILES * B_TILE);
    for (int i = 0; i < 64 / ELEMENTS; ++i)
      tma::load(operands + i * A_TILE, &p.maps[0], {i * ELEMENTS, 0}, landed);
    for (int i = 0; i < B_TILES; ++i)
      tma::load(operands + A_BYTES + i * B_TILE, &p.maps[1], {i * ELEMENTS, 0}, landed);
  }
  block::sync();
  mbarrier::wait(landed, 0);
  float c[N / 2];
  wgmma::fence();
  for (int k = 0; k < 64; k += 16) {
    auto operand = [&](const unsigned char* tiles, bool k_contiguous, int tile) {
      const auto base = wgmma::Operand::of(tiles, SWIZZLE, k_contiguous ? 0 : tile, SPAN);
      if (k_contiguous) return base.advance(k / ELEMENTS * tile + k % ELEMENTS * 2);
      return base.advance(k * BYTES);
    };
    wgmma::multiply<N, A, B>(c, operand(operands, A_K, A_TILE), operand(operands + A_BYTES, B_K, B_TILE), k > 0);
  }
  wgmma::commit();
  wgmma::wait<0>();
  wgmma::pin(c);
  write_sums<N>(p.y, c);
}

using wgmma::Major;
using wgmma::Swizzle;
KERNEL(test_wgmma_k_k_128, EmulatorTestParams, 128) {
  multiply_once<64, Major::K, Major::K, Swizzle::BYTES_128, 128>(p);
}
KERNEL(test_wgmma_k_k_64, EmulatorTestParams, 128) {
  multiply_once<96, Major::K, Major::K, Swizzle::BYTES_64, 64>(p);
}
KERNEL(test_wgmma_k_k_32, EmulatorTestParams, 128) {
  multiply_once<8, Major::K, Major::K, Swizzle::BYTES_32, 32>(p);
}
KERNEL(test_wgmma_m_n_128, EmulatorTestParams, 128) {
  multiply_once<256, Major::MN, Major::MN, Swizzle::BYTES_128, 128>(p);
}
KERNEL(test_wgmma_m_n_64, EmulatorTestParams, 128) {
  multiply_once<64, Major::MN, Major::MN, Swizzle::BYTES_64, 64>(p);
}
KERNEL(test_wgmma_m_n_32, EmulatorTestParams, 128) {
  multiply_once<16, Major::MN, Major::MN, Swizzle::BYTES_32, 32>(p);
}
KERNEL(test_wgmma_k_n_128, EmulatorTestParams, 128) {
  multiply_once<128, Major::K, Major::MN, Swizzle::BYTES_128, 128>(p);
}
KERNEL(test_wgmma_registers_k, EmulatorTestParams, 128) { multiply_registers<Major::K>(p); }
KERNEL(test_wgmma_registers_n, EmulatorTestParams, 128) { multiply_registers<Major::MN>(p); }
