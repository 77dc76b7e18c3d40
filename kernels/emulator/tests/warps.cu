// Words of a warp.
#include "device/device.cuh"
#include "emulator/tests/test.h"

// Each row of 32 of y is what one word makes of x.
KERNEL(test_exchange, EmulatorTestParams, 32) {
  const int lane = warp::lane();
  const float x = p.x[lane];
  float* y = p.y + lane;
  y[0 * 32] = warp::shuffle_xor(x, 5);
  y[1 * 32] = warp::shuffle(x, 7);
  y[2 * 32] = warp::shuffle_down(x, 3);
  y[3 * 32] = warp::shuffle_up(x, 3);
  y[4 * 32] = float(warp::ballot(lane % 3 == 0) >> lane & 1);
  y[5 * 32] = warp::any(lane == 31) ? 1.0f : 0.0f;
  y[6 * 32] = warp::sum(x);
  y[7 * 32] = warp::max<8>(x);
  y[8 * 32] = block::sum(x);
  y[9 * 32] = block::max(x);
  y[10 * 32] = warp::elect_one() ? 1.0f : 0.0f;
}

// Eight elements: a row of a matrix.
using Octet = Vector<bf16, 8>;

// b = a through ldmatrix and stmatrix: 32 rows of 8, plain, then transposed as it is loaded and again as it is stored,
// then in twos and ones; 4 x 256 elements. 1: the warp does not wait before it loads.
KERNEL(test_matrices, EmulatorTestParams, 32) {
  SHARED(Octet, from, 32);
  SHARED(Octet, to, 32);
  const int lane = warp::lane();
  load<8>(p.a + (31 - lane) * 8).store(from[31 - lane].values);
  if (p.fault != 1) warp::sync();
  uint32_t four[4], two[2], one[1];
  auto write = [&](int which) {
    warp::sync();
    load<8>(to[lane].values).store(p.b + which * 256 + lane * 8);
    warp::sync();
  };
  ldmatrix_x4(four, &from[lane]);
  stmatrix_x4(&to[lane], four);
  write(0);
  ldmatrix_x4_transposed(four, &from[lane]);
  stmatrix_x4_transposed(&to[lane], four);
  write(1);
  ldmatrix_x2(two, &from[lane % 16]);
  stmatrix_x2(&to[lane % 16], two);
  ldmatrix_x2_transposed(two, &from[16 + lane % 16]);
  stmatrix_x2_transposed(&to[16 + lane % 16], two);
  write(2);
  for (int i = 0; i < 4; ++i) {
    ldmatrix_x2(two, &from[i / 2 * 16 + lane % 16]);
    one[0] = two[i % 2];
    stmatrix_x1(&to[i * 8 + lane % 8], one);
  }
  write(3);
}

// y (16 x 8) = a (16 x 16) b (8 x 16)^T by one mma.
KERNEL(test_mma, EmulatorTestParams, 32) {
  const int g = warp::lane() / 4, t = warp::lane() % 4;
  auto two = [](const bf16* at) { return load<2>(at); };
  uint32_t a[4], b[2];
  for (int i = 0; i < 4; ++i) {
    const auto pair = two(p.a + (g + i % 2 * 8) * 16 + i / 2 * 8 + 2 * t);
    a[i] = pack(float(pair[0]), float(pair[1]));
  }
  for (int i = 0; i < 2; ++i) {
    const auto pair = two(p.b + g * 16 + i * 8 + 2 * t);
    b[i] = pack(float(pair[0]), float(pair[1]));
  }
  float c[4] = {};
  mma_m16n8k16(c, a, b);
  for (int i = 0; i < 4; ++i) p.y[mma::row(i) * 8 + mma::column(i)] = c[i];
}

// Loads eight rows of 128 bytes at one column by one ldmatrix, `n` times: with all in one bank, or, where `fault` is 1,
// permuted.
KERNEL(test_banks, EmulatorTestParams, 32) {
  DYNAMIC_SHARED(tile);
  const int lane = warp::lane();
  for (int i = lane; i < 128; i += 32) reinterpret_cast<Octet*>(tile)[i] = load<8>(p.a + i * 8);
  warp::sync();
  uint32_t four[4], sum = 0;
  for (uint32_t i = 0; i < p.n; ++i) {
    const int row = lane % 8, chunk = lane / 8;
    const int place = p.fault == 1 ? swizzle::rows_of_128_bytes(row, chunk) : row * 8 + chunk;
    ldmatrix_x4(four, tile + 16 * place);
    sum += four[0];
  }
  p.y[lane] = float(sum);
}

// y = x through cp.async in two groups of four floats a thread; 128 threads.
// 1: waits for the first group only; 2: waits, but not for the others; 3: never waits; 4: a misaligned copy;
// 5: overwrites what is on its way.
KERNEL(test_copies, EmulatorTestParams, 128) {
  DYNAMIC_SHARED(memory);
  float* tile = reinterpret_cast<float*>(memory);
  const int i = block::thread();
  const bool there = uint32_t(i) * 4 < p.n;
  if (p.fault == 4) cp_async::copy_16(tile + i * 4 + 1, p.x);
  cp_async::copy_16(tile + i * 4, there ? p.x + i * 4 : p.x, there);
  cp_async::commit();
  cp_async::copy_16(tile + 512 + i * 4, p.x + 512 + i * 4);
  cp_async::commit();
  if (p.fault == 5) tile[(i + 32) % 128 * 4] = 0.0f;
  if (p.fault == 1) cp_async::wait<1>();
  if (p.fault != 1 && p.fault != 3) cp_async::wait<0>();
  if (p.fault != 2) block::sync();
  for (int j = i; j < 1024; j += 128) p.y[j] = tile[j];
}
