// Parameters of the matrix products C[m, n] = A[m, k] B[k, n]: gemm_nt.cu, gemm_nn.cu, gemm_tn.cu, gemm_reduce.cu.
//
// A launch computes several problems. A problem's sum over k is a list of segments, each with its own A and B, so
// that one K loop runs on from the adapters' ranks through the frozen weight. A segment may add to some columns alone.
#pragma once
#include "device/parameters.h"
#include "step_state.h"

// What a launch holds at most.
enum GemmLimit {
  GEMM_PROBLEMS = 8,
  GEMM_SEGMENTS = 32,
  GEMM_PIECES = 24,
};

// What becomes of a product before it is written.
enum GemmEpilogue {
  GEMM_STORE = 0,
  GEMM_GELU_TANH = 1,
  GEMM_GELU_ERF = 2,
  GEMM_QUICK_GELU = 3,
  GEMM_SILU = 4,
  GEMM_GATED_RESIDUAL = 5,
  GEMM_QK_NORM = 6,
};

// What can be read and written sixteen bytes at a time.
enum GemmVectors {
  GEMM_VECTOR_A = 1,
  GEMM_VECTOR_B = 2,
  GEMM_VECTOR_C = 4,
};

// What the columns (of a weight gradient, the rows) from `begin` to `end` have: a scale, or the gain of a norm.
typedef struct GemmPiece {
  DEVICE_POINTER(const bf16) values;  // the first is that of `begin`
  uint32_t begin;
  uint32_t end;
} GemmPiece;

// Some of a launch's pieces.
typedef struct GemmPieces {
  uint32_t first;
  uint32_t count;
} GemmPieces;

// A stretch of the sum over k, for the columns of C from `begin` to `end`.
typedef struct GemmSegment {
  DEVICE_POINTER(const bf16) a;  // nt, nn: [m, k]; tn: [k, m]
  DEVICE_POINTER(const bf16) b;  // nt: [end - begin, k]; nn, tn: [k, n], all columns
  uint32_t lda;                  // elements from row to row
  uint32_t ldb;
  uint32_t k;
  uint32_t begin;
  uint32_t end;
  uint32_t vectors;              // GemmVectors
  float scale;                   // multiplies the product, where the problem counts it as scaled
  uint32_t reserved;
} GemmSegment;

typedef struct GemmProblem {
  uint32_t m;
  uint32_t n;
  uint32_t tiles_m;
  uint32_t tiles_n;
  uint32_t first_tile;           // among the launch's tiles
  uint32_t first_segment;
  uint32_t segments;
  uint32_t scaled_segments;      // the first so many are multiplied by their scale
  uint32_t slices_a_split;       // slices of k that one of the launch's splits sums up
  uint32_t epilogue;             // GemmEpilogue
  uint32_t vectors;              // GemmVectors
  uint32_t ldc;
  float factor;                  // multiplies the whole product
  uint32_t accumulate;           // whether it is added to what is there
  uint32_t adapter;              // lane of the dropout mask
  uint32_t gate_stride;          // elements from sample to sample
  uint32_t rows_a_sample;        // of the gate
  uint32_t reserved;
  GemmPieces output_scales;      // multiply columns (nt) or rows (tn) after the factor
  GemmPieces norms;              // gains of 64 values, for the heads of these columns
  DEVICE_POINTER(const bf16) bias;      // [n] or null
  DEVICE_POINTER(bf16) c;               // the product with scales and bias; null: not written
  DEVICE_POINTER(bf16) result;          // what the epilogue makes of it, if there is one; x of the gated residual
  DEVICE_POINTER(float) stream;         // in its place, where x is f32
  DEVICE_POINTER(const float) gate;     // the first sample's
  DEVICE_POINTER(const bf16) dout;      // what the product is multiplied with for sums over rows, [m, n] of ldc
  DEVICE_POINTER(float) sums;           // f32 result
  DEVICE_POINTER(float) partials;       // [splits, m, n], where there are several splits
} GemmProblem;

// The mask of dropped elements of X, made from counters: elements count from a sample's first.
typedef struct GemmDropout {
  DEVICE_POINTER(const StepHeader) state;
  float probability;
  uint32_t rows_a_sample;
  uint32_t columns;
  uint32_t reserved;
} GemmDropout;

typedef struct GemmParams {
  uint32_t num_problems;
  uint32_t splits;
  GemmDropout dropout;
  GemmProblem problems[GEMM_PROBLEMS];
  GemmSegment segments[GEMM_SEGMENTS];
  GemmPiece pieces[GEMM_PIECES];
} GemmParams;
