// Effective weights of LoHa and LoKr, and the gradients of their factors; the products inside the factors are matrix
// products of their own (gemm_nn.cu, gemm_tn.cu).
#include "effective_weight.h"
#include "elementwise.cuh"

KERNEL(hadamard_weight, HadamardWeightParams, elementwise::THREADS) {
  const float scale = p.scale;
  const auto changed = [=](float weight, float first, float second) { return weight + scale * first * second; };
  elementwise::write(p.to, p.elements, p.aligned, changed, p.weight, p.first, p.second);
}

// A thread has its parts of both factors in registers before it writes either.
template <int WIDTH>
DEVICE void hadamard_gradients(const HadamardGradientParams& p) {
  const uint64_t count = p.elements / WIDTH;
  const float scale = p.scale;
  const auto gradient = [=](float dw, float other) { return scale * dw * other; };
  const auto dw = elementwise::load<WIDTH>(p.dw, count);
  const auto first = elementwise::load<WIDTH>(static_cast<const bf16*>(p.first), count);
  const auto second = elementwise::load<WIDTH>(static_cast<const bf16*>(p.second), count);
  elementwise::store<WIDTH>(p.first, count, gradient, dw, second);
  elementwise::store<WIDTH>(p.second, count, gradient, dw, first);
}

KERNEL(hadamard_gradient, HadamardGradientParams, elementwise::THREADS) {
  if (!p.aligned) {
    hadamard_gradients<1>(p);
    return;
  }
  hadamard_gradients<8>(p);
  // The first block does what is less than a vector.
  const uint64_t rest = p.elements / 8 * 8 + block::thread();
  if (grid::block_x() == 0 && rest < p.elements) {
    const float dw = p.dw[rest], first = float(p.first[rest]), second = float(p.second[rest]);
    p.first[rest] = bf16(p.scale * dw * second);
    p.second[rest] = bf16(p.scale * dw * first);
  }
}

// A thread has an element; rows are blocks in y.
KERNEL(kronecker_weight, KroneckerWeightParams, KRONECKER_THREADS) {
  const KroneckerExtents e = p.extents;
  const uint32_t row = grid::block_y();
  const uint32_t column = grid::block_x() * KRONECKER_THREADS + block::thread();
  const uint32_t columns = e.m * e.n;
  if (column >= columns) return;
  const float first = float(p.first[uint64_t(row / e.k) * e.m + column / e.n]);
  const float second = float(p.second[uint64_t(row % e.k) * e.n + column % e.n]);
  const uint64_t element = uint64_t(row) * columns + column;
  p.to[element] = bf16(float(p.weight[element]) + p.scale * first * second);
}

DEVICE void put(const KroneckerGradientParams& p, uint64_t element, float gradient) {
  if (!p.sums) {
    p.values[element] = bf16(gradient);
  } else if (p.accumulates) {
    p.sums[element] += gradient;
  } else {
    p.sums[element] = gradient;
  }
}

// A block has an element of [l, m]: the sum over dW's block of that element, times the second factor.
KERNEL(kronecker_first_gradient, KroneckerGradientParams, KRONECKER_THREADS) {
  const KroneckerExtents e = p.extents;
  const uint32_t i = grid::block_y(), j = grid::block_x();
  const uint64_t stride = uint64_t(e.m) * e.n;
  const float* block_of_dw = p.dw + uint64_t(i) * e.k * stride + uint64_t(j) * e.n;
  float total = 0.0f;
  for (uint32_t index = block::thread(); index < e.k * e.n; index += KRONECKER_THREADS) {
    total += block_of_dw[uint64_t(index / e.n) * stride + index % e.n] * float(p.other[index]);
  }
  total = block::sum(total);
  if (block::thread() == 0) put(p, uint64_t(i) * e.m + j, p.scale * total);
}

// A thread has an element of [k, n]: the sum over all blocks of dW, times the first factor; rows are blocks in y.
KERNEL(kronecker_second_gradient, KroneckerGradientParams, KRONECKER_THREADS) {
  const KroneckerExtents e = p.extents;
  const uint32_t row = grid::block_y();
  const uint32_t column = grid::block_x() * KRONECKER_THREADS + block::thread();
  if (column >= e.n) return;
  const uint64_t stride = uint64_t(e.m) * e.n;
  float total = 0.0f;
  for (uint32_t i = 0; i < e.l; ++i) {
    const float* line = p.dw + (uint64_t(i) * e.k + row) * stride + column;
#pragma unroll 4
    for (uint32_t j = 0; j < e.m; ++j) total += line[uint64_t(j) * e.n] * float(p.other[i * e.m + j]);
  }
  put(p, uint64_t(row) * e.n + column, p.scale * total);
}

// A thread has a square, whose rows it reads and writes as vectors.
KERNEL(transpose, TransposeParams, TRANSPOSE_THREADS) {
  constexpr int EDGE = TRANSPOSE_EDGE;
  const uint32_t row = grid::block_y() * EDGE;
  const uint32_t column = (grid::block_x() * TRANSPOSE_THREADS + block::thread()) * EDGE;
  if (column >= p.columns) return;
  if (p.aligned) {
    Vector<bf16, EDGE> square[EDGE];
#pragma unroll
    for (int i = 0; i < EDGE; ++i) square[i].load(p.from + uint64_t(row + i) * p.columns + column);
#pragma unroll
    for (int j = 0; j < EDGE; ++j) {
      Vector<bf16, EDGE> line;
#pragma unroll
      for (int i = 0; i < EDGE; ++i) line[i] = square[i][j];
      line.store(p.to + uint64_t(column + j) * p.rows + row);
    }
    return;
  }
  const uint32_t rows = min(p.rows, row + EDGE), columns = min(p.columns, column + EDGE);
  for (uint32_t j = column; j < columns; ++j) {
    for (uint32_t i = row; i < rows; ++i) p.to[uint64_t(j) * p.rows + i] = p.from[uint64_t(i) * p.columns + j];
  }
}
