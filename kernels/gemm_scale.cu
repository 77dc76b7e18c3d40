// dY with each column multiplied by its scale: an operand of the gradients of layers with output scales.
#include "device/device.cuh"
#include "gemm.h"
#include "gemm_epilogue.cuh"

KERNEL(gemm_scale_columns, GemmParams, 256) {
  using namespace gemm;
  const GemmProblem& problem = p.problems[0];
  const uint64_t octets = (problem.n + CHUNK - 1) / CHUNK;
  const uint64_t index = uint64_t(grid::block_x()) * 256 + block::thread();
  const uint64_t row = index / octets;
  const uint32_t column = uint32_t(index % octets) * CHUNK;
  if (row >= problem.m) return;
  const bool vector = problem.vectors & GEMM_VECTOR_C;
  Octet values = load_octet<bf16>(problem.dout + row * problem.ldc, column, problem.n, vector);
#pragma unroll
  for (int i = 0; i < CHUNK; ++i) values[i] *= value_of(p, problem.output_scales, column + i, 1.0f);
  store_octet<bf16>(problem.c + row * problem.n, column, problem.n, vector, values);
}
