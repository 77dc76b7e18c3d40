// What becomes of a tile's sums: from fragments to rows, through the epilogue, to global memory.
//
// A warp passes sixteen of its rows at a time through shared memory and takes them up again as octets, eight
// neighbouring columns of one row a lane: sixteen bytes of bf16, and the eight lanes of a row hold one head of 64.
#pragma once
#include "activation_functions.cuh"
#include "device/device.cuh"
#include "gemm.h"
#include "gemm_mainloop.cuh"
#include "gemm_source.cuh"

namespace gemm {

struct Octet {
  float values[CHUNK];
  DEVICE float& operator[](int i) { return values[i]; }
  DEVICE float operator[](int i) const { return values[i]; }
};

// Floats from row to row of a warp's sixteen rows: rows four banks apart, so that fragments meet no bank twice.
constexpr int PITCH = 72;

// Eight values of a row, zeros from `end` on; `vector` says that the row may be read sixteen bytes at a time.
template <class T>
DEVICE Octet load_octet(const T* row, uint32_t column, uint32_t end, bool vector) {
  constexpr int WIDTH = 16 / sizeof(T);
  Octet octet;
#pragma unroll
  for (int part = 0; part < CHUNK; part += WIDTH) {
    if (vector && column < end) {
      const auto values = load<WIDTH>(row + column + part);
#pragma unroll
      for (int i = 0; i < WIDTH; ++i) octet[part + i] = float(values[i]);
    } else {
#pragma unroll
      for (int i = part; i < part + WIDTH; ++i) octet[i] = column + i < end ? float(row[column + i]) : 0.0f;
    }
  }
  return octet;
}

template <class T>
DEVICE void store_octet(T* row, uint32_t column, uint32_t end, bool vector, const Octet& octet) {
  constexpr int WIDTH = 16 / sizeof(T);
#pragma unroll
  for (int part = 0; part < CHUNK; part += WIDTH) {
    if (vector && column < end) {
      Vector<T, WIDTH> values;
#pragma unroll
      for (int i = 0; i < WIDTH; ++i) values[i] = T(octet[part + i]);
      values.store(row + column + part);
    } else {
#pragma unroll
      for (int i = part; i < part + WIDTH; ++i)
        if (column + i < end) row[column + i] = T(octet[i]);
    }
  }
}

// Calls `use(row, column, octet)` for every octet of the tile at `row`, `column` of C, all lanes of a warp together.
// The ring serves as scratch memory.
template <class Tile, class Use>
DEVICE void for_each_octet(const Sums<Tile>& sums, bf16* ring, uint32_t row, uint32_t column, Use&& use) {
  const int lane = warp::lane();
  float* rows = reinterpret_cast<float*>(ring) + warp::index() * 16 * PITCH;
  row += Tile::warp_row();
  column += Tile::warp_column();
#pragma unroll
  for (int i = 0; i < Tile::MMA_M; ++i) {
#pragma unroll
    for (int j = 0; j < Tile::MMA_N; ++j) {
      float* at = rows + lane / 4 * PITCH + j * 8 + lane % 4 * 2;
      at[0] = sums.fragment[i][j][0];
      at[1] = sums.fragment[i][j][1];
      at[8 * PITCH] = sums.fragment[i][j][2];
      at[8 * PITCH + 1] = sums.fragment[i][j][3];
    }
    warp::sync();
#pragma unroll 1
    for (int part = 0; part < 4; ++part) {
      const int local = part * 4 + lane / 8;
      const Octet octet = load_octet(rows + local * PITCH, lane % 8 * CHUNK, PITCH, true);
      use(row + i * 16 + local, column + lane % 8 * CHUNK, octet);
    }
    warp::sync();
  }
}

// What `pieces` have for `column`; `otherwise` where none has anything.
DEVICE float value_of(const GemmParams& p, const GemmPieces& pieces, uint32_t column, float otherwise) {
  for (uint32_t i = pieces.first; i < pieces.first + pieces.count; ++i) {
    const GemmPiece& piece = p.pieces[i];
    if (piece.begin <= column && column < piece.end) return float(piece.values[column - piece.begin]);
  }
  return otherwise;
}

// Multiplies every column by the scale of the segment that added to it.
template <class Tile>
DEVICE void scale_segments(Sums<Tile>& sums, const GemmParams& p, const GemmProblem& problem,
                                      uint32_t tile_column) {
  const uint32_t first = tile_column + Tile::warp_column() + warp::lane() % 4 * 2;
#pragma unroll
  for (int j = 0; j < Tile::MMA_N; ++j) {
#pragma unroll
    for (int e = 0; e < 2; ++e) {
      const uint32_t column = first + j * 8 + e;
      float scale = 1.0f;
      for (uint32_t s = problem.first_segment; s < problem.first_segment + problem.scaled_segments; ++s) {
        if (p.segments[s].begin <= column && column < p.segments[s].end) scale = p.segments[s].scale;
      }
#pragma unroll
      for (int i = 0; i < Tile::MMA_M; ++i) {
        sums.fragment[i][j][e] *= scale;
        sums.fragment[i][j][e + 2] *= scale;
      }
    }
  }
}

// The product with its factor, output scales and bias.
DEVICE void scale_and_add_bias(Octet& y, const GemmParams& p, const GemmProblem& problem, uint32_t column) {
#pragma unroll
  for (int i = 0; i < CHUNK; ++i) y[i] *= problem.factor;
  if (problem.output_scales.count > 0) {
#pragma unroll
    for (int i = 0; i < CHUNK; ++i) y[i] *= value_of(p, problem.output_scales, column + i, 1.0f);
  }
  if (problem.bias) {
    const Octet bias = load_octet<bf16>(problem.bias, column, problem.n, problem.vectors & GEMM_VECTOR_C);
#pragma unroll
    for (int i = 0; i < CHUNK; ++i) y[i] += bias[i];
  }
}

// y w / sqrt(mean(y^2) + eps) for the heads that have a gain w; the eight lanes of a row hold one head.
DEVICE void normalise_head(Octet& y, const GemmParams& p, const GemmProblem& problem, uint32_t column) {
  constexpr float EPSILON = 1e-6f;
  constexpr uint32_t HEAD_DIM = 64;
  float squares = 0.0f;
#pragma unroll
  for (int i = 0; i < CHUNK; ++i) squares += y[i] * y[i];
#pragma unroll
  for (int mask = 1; mask < 8; mask *= 2) squares += warp::shuffle_xor(squares, mask);
  const float rstd = math::rsqrt(squares / HEAD_DIM + EPSILON);
  for (uint32_t i = problem.norms.first; i < problem.norms.first + problem.norms.count; ++i) {
    const GemmPiece& piece = p.pieces[i];
    if (column < piece.begin || column >= piece.end) continue;
    const bf16* gain = piece.values + (column - piece.begin) % HEAD_DIM;
#pragma unroll
    for (int e = 0; e < CHUNK; ++e) y[e] *= rstd * float(gain[e]);
  }
}

// x + gate y, on top of x.
template <class T>
DEVICE void add_gated(T* x, const Octet& y, const GemmProblem& problem, uint32_t row, uint32_t column) {
  const bool vector = problem.vectors & GEMM_VECTOR_C;
  const float* gates = problem.gate + uint64_t(row / problem.rows_a_sample) * problem.gate_stride;
  const Octet gate = load_octet<float>(gates, column, problem.n, vector);
  Octet sum = load_octet<T>(x, column, problem.n, vector);
#pragma unroll
  for (int i = 0; i < CHUNK; ++i) sum[i] += gate[i] * y[i];
  store_octet<T>(x, column, problem.n, vector, sum);
}

DEVICE void activate(Octet& y, uint32_t epilogue) {
#pragma unroll
  for (int i = 0; i < CHUNK; ++i) {
    switch (epilogue) {
      case GEMM_GELU_TANH: y[i] = activation::GeluTanh::value(y[i]); break;
      case GEMM_GELU_ERF: y[i] = activation::GeluErf::value(y[i]); break;
      case GEMM_QUICK_GELU: y[i] = activation::QuickGelu::value(y[i]); break;
      case GEMM_SILU: y[i] = activation::Silu::value(y[i]); break;
    }
  }
}

// Finishes and writes an octet of a linear layer; all lanes of a warp call it, also for rows and columns beyond C.
DEVICE void store_linear(Octet y, const GemmParams& p, const GemmProblem& problem, uint32_t row,
                                    uint32_t column) {
  const bool inside = row < problem.m && column < problem.n;
  const bool vector = problem.vectors & GEMM_VECTOR_C;
  const uint64_t at = uint64_t(row) * problem.ldc;
  scale_and_add_bias(y, p, problem, column);
  if (inside && problem.c) store_octet<bf16>(problem.c + at, column, problem.n, vector, y);
  if (problem.epilogue == GEMM_STORE) return;
  if (problem.epilogue == GEMM_GATED_RESIDUAL) {
    if (inside && problem.stream) add_gated(problem.stream + at, y, problem, row, column);
    if (inside && problem.result) add_gated(problem.result + at, y, problem, row, column);
    return;
  }
  if (problem.epilogue == GEMM_QK_NORM) {
    normalise_head(y, p, problem, column);
  } else {
    activate(y, problem.epilogue);
  }
  if (inside) store_octet<bf16>(problem.result + at, column, problem.n, vector, y);
}

// Finishes and writes an octet of an input gradient, where a mask of dropout goes over it, or of H.
template <class Mask>
DEVICE void store_gradient(Octet y, const GemmProblem& problem, uint32_t row, uint32_t column,
                                      const Mask& mask) {
  if (row >= problem.m || column >= problem.n) return;
  const bool vector = problem.vectors & GEMM_VECTOR_C;
  bf16* c = problem.c + uint64_t(row) * problem.ldc;
#pragma unroll
  for (int i = 0; i < CHUNK; ++i) y[i] *= problem.factor;
  mask.apply(y, row, column);
  if (problem.accumulate) {
    const Octet before = load_octet<bf16>(c, column, problem.n, vector);
#pragma unroll
    for (int i = 0; i < CHUNK; ++i) y[i] += before[i];
  }
  store_octet<bf16>(c, column, problem.n, vector, y);
}

// Finishes and writes an octet of a weight gradient, or of any sum of partial sums: factor and row scale, then f32 or
// bf16.
DEVICE void store_sums(Octet y, const GemmParams& p, const GemmProblem& problem, uint32_t row,
                                  uint32_t column) {
  if (row >= problem.m || column >= problem.n) return;
  const bool vector = problem.vectors & GEMM_VECTOR_C;
  const uint64_t at = uint64_t(row) * problem.ldc;
  const float factor = problem.factor * value_of(p, problem.output_scales, row, 1.0f);
#pragma unroll
  for (int i = 0; i < CHUNK; ++i) y[i] *= factor;
  if (problem.accumulate) {
    const Octet before = load_octet<float>(problem.sums + at, column, problem.n, vector);
#pragma unroll
    for (int i = 0; i < CHUNK; ++i) y[i] += before[i];
  }
  if (problem.sums) store_octet<float>(problem.sums + at, column, problem.n, vector, y);
  if (problem.c) store_octet<bf16>(problem.c + at, column, problem.n, vector, y);
}

}  // namespace gemm
