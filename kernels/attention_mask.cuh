// What is added to the scores before the softmax: minus infinity for keys that are not there, that come after the
// query (CLIP) or are padding (T5), and T5's bias by relative position.
//
// The bias of one head depends on key minus query alone and no longer changes from a distance on, so a block writes it
// into a table by distance first.
#pragma once
#include "attention.h"
#include "attention_walk.cuh"
#include "softmax.cuh"

namespace attention {

// Whether a kernel can mask at all.
enum class Masked { NO, YES };

// Where a thread's scores lie: rows `row` + 16 m + 8 half, columns `column` + 8 n and one more.
struct ScorePlace {
  int row;
  int column;
};

// The place of a warp's scores, whose first row and column are `row` and `column`.
DEVICE ScorePlace score_place(int row, int column) {
  return {row + warp::lane() / 4, column + warp::lane() % 4 * 2};
}

// Calls change(score, row, column) for every score.
template <int M_TILES, int N_TILES, typename Change>
DEVICE void for_each_score(float (&scores)[M_TILES][N_TILES][4], ScorePlace place, Change change) {
#pragma unroll
  for (int m = 0; m < M_TILES; ++m) {
#pragma unroll
    for (int n = 0; n < N_TILES; ++n) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        change(scores[m][n][i], place.row + m * 16 + i / 2 * 8, place.column + n * 8 + i % 2);
      }
    }
  }
}

// Hides the columns of a tile from `columns` on.
template <int M_TILES, int N_TILES>
DEVICE void hide_absent(float (&scores)[M_TILES][N_TILES][4], int columns) {
  for_each_score(scores, score_place(0, 0), [=](float& score, int, int column) {
    score = column < columns ? score : -math::INFINITE;
  });
}

// Entries of the bias table.
constexpr int BIASES = 2 * ATTENTION_DISTANCES;

// Writes the bias of a head, if the mask has one, for key - query from -ATTENTION_DISTANCES on; the block's threads
// share the work.
template <int THREADS>
DEVICE void load_biases(float* biases, const AttentionParams& p, const Head& head) {
  if (p.mask != ATTENTION_MASK_RELATIVE_BIAS) {
    return;
  }
  for (int i = block::thread(); i < BIASES; i += THREADS) {
    const int relative = i - ATTENTION_DISTANCES;
    const int bucket =
        relative > 0 ? p.bucket_ahead[relative] : p.bucket_behind[min(-relative, ATTENTION_DISTANCES - 1)];
    biases[i] = float(p.bias_table[bucket * head.heads + head.head]);
  }
}

// What masked scores are to be multiplied by in the exponent of two: biased ones are scaled already.
DEVICE float masked_scale(const AttentionParams& p) {
  return p.mask == ATTENTION_MASK_RELATIVE_BIAS ? softmax::LOG2_E : p.scale * softmax::LOG2_E;
}

// Tiles of keys that some of the queries see.
template <int ROWS>
DEVICE int visible_key_tiles(const AttentionParams& p, const Rows& queries) {
  const int last = queries.first + queries.count;
  return p.mask == ATTENTION_MASK_CAUSAL ? (last + ROWS - 1) / ROWS : all_key_tiles<ROWS>(p.streams);
}

// Applies the mask of a stream to scores of queries and keys of sample `sample`.
template <int M_TILES, int N_TILES>
DEVICE void apply_mask(float (&scores)[M_TILES][N_TILES][4], const AttentionParams& p, const float* biases,
                           ScorePlace place, int sample) {
  if (p.mask == ATTENTION_MASK_CAUSAL) {
    for_each_score(scores, place, [](float& score, int query, int key) {
      score = key <= query ? score : -math::INFINITE;
    });
  }
  if (p.mask == ATTENTION_MASK_RELATIVE_BIAS) {
    const float scale = p.scale;
    for_each_score(scores, place, [=](float& score, int query, int key) {
      const int relative = max(-ATTENTION_DISTANCES, min(key - query, ATTENTION_DISTANCES - 1));
      score = score * scale + biases[relative + ATTENTION_DISTANCES];
    });
    if (p.ids != nullptr) {
      const int keys = p.streams[0].tokens;
      const int32_t* ids = p.ids + int64_t(sample) * keys;
      for_each_score(scores, place, [=](float& score, int, int key) {
        score = key < keys && ids[key] != 0 ? score : -math::INFINITE;
      });
    }
  }
}

}  // namespace attention
