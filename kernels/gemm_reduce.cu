// The second stage of products whose k is split: adds up the splits' partial sums, one split after another, so that
// the result does not depend on which block was first. A thread has an octet, block_y is the problem.
#include "device/device.cuh"
#include "gemm.h"
#include "gemm_epilogue.cuh"

KERNEL(gemm_reduce, GemmParams, 256) {
  using namespace gemm;
  const GemmProblem& problem = p.problems[grid::block_y()];
  const uint64_t octets = (problem.n + CHUNK - 1) / CHUNK;
  const uint64_t index = uint64_t(grid::block_x()) * 256 + block::thread();
  const uint32_t row = uint32_t(index / octets), column = uint32_t(index % octets) * CHUNK;
  if (index / octets >= problem.m) return;
  Octet sum = {};
  for (uint32_t split = 0; split < p.splits; ++split) {
    const float* partials = problem.partials + (uint64_t(split) * problem.m + row) * problem.n;
    const Octet part = load_octet<float>(partials, column, problem.n, problem.n % CHUNK == 0);
#pragma unroll
    for (int i = 0; i < CHUNK; ++i) sum[i] += part[i];
  }
  store_sums(sum, p, problem, row, column);
}
