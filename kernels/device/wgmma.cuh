// Products of a warpgroup on tensor cores, asynchronous, with operands in shared memory (wgmma, sm_90a).
//
// c += a b for 64 x N times depth 16; N = 8, 16 ... 256. All four warps of a warpgroup take part. With warp w of the
// four, g = lane / 4 and t = lane % 4, sum i of a thread is row 16 w + g + 8 (i / 2 % 2), column
// 8 (i / 4) + 2 t + i % 2; A in registers is laid out as for mma.cuh, 16 rows a warp.
//
// The order of words: fence, multiply..., commit, wait. Between fence and wait the sums belong to the tensor cores:
// nothing may read or write them, and `pin` after wait keeps the compiler from moving them.
#pragma once
#include "wgmma_instructions.cuh"

namespace wgmma {

// How sixteen-byte chunks are permuted, by the bytes of a row that a permutation spans; as in a tensor map.
enum class Swizzle : uint32_t { NONE = 0, BYTES_128 = 1, BYTES_64 = 2, BYTES_32 = 3 };

// Where an operand lies in shared memory. In chunks of eight elements (sixteen bytes), with S chunks a row of the
// swizzle (8, 4, 2; 1 without), element (i, k), i along m or n, lies before the permutation at
//   depth contiguous (K-major):  i % 8 * S + i / 8 * stride + k / 8 * (1; without swizzle: leading)
//   i contiguous (MN-major):     i / 8 % S + i / 8 / S * leading + k % 8 * S + k / 8 * stride
//   the latter without swizzle:  i / 8 * stride + k % 8 + k / 8 * leading
// `leading` and `stride` are in bytes. A step of depth within the rows of a K-major tile is `advance`d in bytes.
struct Operand {
  uint64_t bits;

  DEVICE static Operand of(const void* tile, Swizzle swizzle, uint32_t leading, uint32_t stride) {
    const uint64_t start = (shared_address(tile) & 0x3FFFF) >> 4;
    return {start | uint64_t((leading & 0x3FFFF) >> 4) << 16 | uint64_t((stride & 0x3FFFF) >> 4) << 32 |
            uint64_t(swizzle) << 62};
  }

  DEVICE Operand advance(uint32_t bytes) const { return {bits + (bytes >> 4)}; }
};

// Which index is contiguous.
enum class Major { K, MN };

// Before the first product, and again before each that follows ordinary accesses to the sums or to A in registers.
DEVICE void fence(WHERE) {
#ifdef __CUDACC__
  asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
#else
  emulator::fence_products(where);
#endif
}

// c = a b, or c += a b where `accumulate`.
template <int N, Major A = Major::K, Major B = Major::K>
DEVICE void multiply(float (&c)[N / 2], Operand a, Operand b, bool accumulate, WHERE) {
#ifdef __CUDACC__
  Instruction<N>::template multiply<int(A == Major::MN), int(B == Major::MN)>(c, a.bits, b.bits, accumulate);
#else
  emulator::multiply_tiles({c, N, nullptr, a.bits, b.bits, A == Major::MN, B == Major::MN, accumulate}, where);
#endif
}

// The same with A in registers.
template <int N, Major B = Major::K>
DEVICE void multiply(float (&c)[N / 2], const uint32_t (&a)[4], Operand b, bool accumulate, WHERE) {
#ifdef __CUDACC__
  Instruction<N>::template multiply<int(B == Major::MN)>(c, a, b.bits, accumulate);
#else
  emulator::multiply_tiles({c, N, a, 0, b.bits, false, B == Major::MN, accumulate}, where);
#endif
}

// Ends a group of products.
DEVICE void commit(WHERE) {
#ifdef __CUDACC__
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
#else
  emulator::commit_products(where);
#endif
}

// Waits until all but the latest N groups are done; then their sums are there.
template <int N>
DEVICE void wait(WHERE) {
#ifdef __CUDACC__
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(N) : "memory");
#else
  emulator::wait_products(N, where);
#endif
}

// Keeps the compiler from moving accesses to the sums across this place.
template <int COUNT>
DEVICE void pin([[maybe_unused]] float (&c)[COUNT]) {
#ifdef __CUDACC__
#pragma unroll
  for (int i = 0; i < COUNT; ++i) asm volatile("" : "+f"(c[i])::"memory");
#endif
}

}  // namespace wgmma
