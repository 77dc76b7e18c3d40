// Softmax over rows that arrive a tile at a time (Milakov and Gimelshein, arXiv 1805.02867).
//
// Scores are results of matrix products, held in fragments: a thread has rows lane / 4 and lane / 4 + 8 of every
// sixteen, and the four threads of a row have its columns between them. Powers are of two: `scale` is the score's factor
// times log2(e). Each thread sums the powers of its own columns; the four sums meet once, at the end.
//
// The trick: powers are taken from a reference, which need not be the largest score so far, only close enough that
// nothing overflows. So it moves only when a score exceeds it by SLACK; then the sum, and whatever was weighted by the
// powers, shrinks to match. After the first tiles that is rare, and most tiles multiply nothing.
#pragma once
#include "device/device.cuh"

namespace softmax {

constexpr float LOG2_E = 1.44269504089f;
constexpr float LN_2 = 0.69314718056f;

constexpr float SLACK = 8;   // binary orders of magnitude

template <int M_TILES>
struct Running {
  float reference[M_TILES][2];   // the same in the four threads of a row
  float sum[M_TILES][2];         // of this thread's columns
};

template <int M_TILES>
DEVICE void start(Running<M_TILES>& running) {
#pragma unroll
  for (int m = 0; m < M_TILES; ++m) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      running.reference[m][half] = -math::INFINITE;
      running.sum[m][half] = 0;
    }
  }
}

// Turns a tile of scores into 2^(scale * (score - reference)). Whether some reference of the warp moved; then `shrink` is
// what anything weighted so far is to be multiplied by. A row in which everything is masked so far stays at zero.
template <int M_TILES, int N_TILES>
DEVICE bool update(Running<M_TILES>& running, float (&shrink)[M_TILES][2], float (&scores)[M_TILES][N_TILES][4],
                   float scale) {
  bool moved = false;
#pragma unroll
  for (int m = 0; m < M_TILES; ++m) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      float largest = -math::INFINITE;
#pragma unroll
      for (int n = 0; n < N_TILES; ++n) {
        largest = math::max(largest, math::max(scores[m][n][2 * half], scores[m][n][2 * half + 1]));
      }
      largest = warp::max<4>(largest);
      const float before = running.reference[m][half];
      const bool moves = (largest - before) * scale > SLACK;
      const float reference = moves ? largest : before;
      const float offset = reference == -math::INFINITE ? 0.0f : reference * scale;
      shrink[m][half] = fast::exp2(before * scale - offset);
      running.reference[m][half] = reference;
      moved |= moves;
      float sum = running.sum[m][half] * shrink[m][half];
#pragma unroll
      for (int n = 0; n < N_TILES; ++n) {
#pragma unroll
        for (int column = 2 * half; column < 2 * half + 2; ++column) {
          scores[m][n][column] = fast::exp2(scores[m][n][column] * scale - offset);
          sum += scores[m][n][column];
        }
      }
      running.sum[m][half] = sum;
    }
  }
  return warp::any(moved);
}

// Multiplies each row by its factor.
template <int M_TILES, int N_TILES>
DEVICE void scale_rows(float (&rows)[M_TILES][N_TILES][4], const float (&factors)[M_TILES][2]) {
#pragma unroll
  for (int m = 0; m < M_TILES; ++m) {
#pragma unroll
    for (int n = 0; n < N_TILES; ++n) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        rows[m][n][i] *= factors[m][i / 2];
      }
    }
  }
}

// Ends the softmax: `inverse` is what the weighted values are to be multiplied by, `lse` the rows' log-sum-exp in the
// scores' unit. A row in which everything is masked has neither: both are NaN or lead to it.
template <int M_TILES>
DEVICE void finish(float (&inverse)[M_TILES][2], float (&lse)[M_TILES][2], const Running<M_TILES>& running,
                       float scale) {
#pragma unroll
  for (int m = 0; m < M_TILES; ++m) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const float sum = warp::sum<4>(running.sum[m][half]);
      inverse[m][half] = 1.0f / sum;
      lse[m][half] = running.reference[m][half] * scale * LN_2 + math::log(sum) + 0.0f * inverse[m][half];
    }
  }
}

}  // namespace softmax
