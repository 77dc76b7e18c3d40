// The forward kernel for heads of 129 to 512 columns, such as the one of the VAE.
//
// O of a query is too wide for the registers of one warp, and a tile of keys too wide for shared memory next to Q. So
// two warps share sixteen queries: both make all of S, and each weights one half of the columns of V. K and V
// pass through a ring of two buffers in chunks of 128 columns: first the four of K, which add up S, then the four of V,
// each with 64 columns for either warp.
#include "attention.h"
#include "attention_mask.cuh"
#include "attention_tiles.cuh"
#include "attention_walk.cuh"
#include "device/device.cuh"
#include "softmax.cuh"

namespace attention {
namespace wide {

constexpr int THREADS = 256;
constexpr int BLOCK_Q = 64;
constexpr int CHUNK = 128;
constexpr int HALF = CHUNK / 2;
constexpr int CHUNKS = 4;
constexpr int HALF_HEAD = CHUNKS * HALF;

// Starts to copy a part of a tile of keys: `part` counts the chunks of K and then those of V.
template <int BLOCK_KV>
DEVICE void load_part(bf16* tile, const Walk& walk, const Head& head, int part) {
  const int dim = head.dim;
  const auto from_column = [](Matrix<const bf16> matrix, int column) {
    return Matrix<const bf16>{matrix.first + column, matrix.stride};
  };
  if (part < CHUNKS) {
    const int column = part * CHUNK;
    load_tile<BLOCK_KV, CHUNK, THREADS>(tile, from_column(walk.a, column), walk.left, dim - column, head.aligned);
  } else {
    const int column = (part - CHUNKS) * HALF;
    load_tile<BLOCK_KV, HALF, THREADS>(tile, from_column(walk.b, column), walk.left, dim - column, head.aligned);
    load_tile<BLOCK_KV, HALF, THREADS>(tile + BLOCK_KV * HALF, from_column(walk.b, HALF_HEAD + column), walk.left,
                                       dim - HALF_HEAD - column, head.aligned);
  }
  cp_async::commit();
}

template <Masked MASKED, int BLOCK_KV, Operands OPERANDS>
DEVICE void forward(const AttentionParams& p) {
  constexpr int Q_TILE = BLOCK_Q * CHUNK, TILE = BLOCK_KV * CHUNK;
  DYNAMIC_SHARED(shared);
  bf16* q_tiles = reinterpret_cast<bf16*>(shared);
  bf16* ring = q_tiles + CHUNKS * Q_TILE;
  float* biases = reinterpret_cast<float*>(ring + 2 * TILE);

  const Head head = this_head(p.heads, p.head_dim, OPERANDS == Operands::ALIGNED || p.aligned);
  const Rows queries = query_rows<BLOCK_Q>(p.streams, grid::block_x());
  const AttentionStream& asking = p.streams[queries.stream];
  const int row = warp::index() % 4 * 16, half = warp::index() / 4;
#pragma unroll
  for (int chunk = 0; chunk < CHUNKS; ++chunk) {
    const int column = chunk * CHUNK;
    const auto q = window<const bf16>(asking.qkv, asking, head, queries.first, asking.columns, asking.q + column);
    load_tile<BLOCK_Q, CHUNK, THREADS>(q_tiles + chunk * Q_TILE, q, queries.count, int(head.dim) - column,
                                  head.aligned);
  }
  Walk walk = walk_keys(p.streams[0], head);
  load_part<BLOCK_KV>(ring, walk, head, 0);
  if (MASKED == Masked::YES) {
    load_biases<THREADS>(biases, p, head);
  }

  const int all_tiles = all_key_tiles<BLOCK_KV>(p.streams);
  const int tiles = MASKED == Masked::YES ? visible_key_tiles<BLOCK_KV>(p, queries) : all_tiles;
  const float scale = MASKED == Masked::YES ? masked_scale(p) : p.scale * softmax::LOG2_E;
  softmax::Running<1> running;
  softmax::start(running);
  float out[CHUNKS][1][HALF / 8][4] = {};
  for (int tile = 0; tile < tiles; ++tile) {
    const int there = walk.left;
    // Waits for a part of this tile and starts to copy the one after it.
    const auto arrived = [&](int part) {
      cp_async::wait<0>();
      block::sync();
      bf16* next = ring + (part + 1) % 2 * TILE;
      if (part + 1 < 2 * CHUNKS) {
        load_part<BLOCK_KV>(next, walk, head, part + 1);
      } else if (tile + 1 < tiles) {
        advance_keys<BLOCK_KV>(walk, p.streams, head);
        load_part<BLOCK_KV>(next, walk, head, 0);
      }
      return ring + part % 2 * TILE;
    };

    float scores[1][BLOCK_KV / 8][4] = {};
#pragma unroll
    for (int chunk = 0; chunk < CHUNKS; ++chunk) {
      const bf16* keys = arrived(chunk);
      multiply_rows<CHUNK>(scores, q_tiles + chunk * Q_TILE, row, keys);
    }
    if (MASKED == Masked::YES) {
      apply_mask(scores, p, biases, score_place(queries.first + row, tile * BLOCK_KV), head.sample);
    }
    if (there < BLOCK_KV) {
      hide_absent(scores, there);
    }
    float shrink[1][2];
    if (softmax::update(running, shrink, scores, scale)) {
#pragma unroll
      for (int chunk = 0; chunk < CHUNKS; ++chunk) {
        softmax::scale_rows(out[chunk], shrink);
      }
    }
#pragma unroll
    for (int chunk = 0; chunk < CHUNKS; ++chunk) {
      const bf16* values = arrived(CHUNKS + chunk) + half * TILE / 2;
      add_product<HALF>(out[chunk], scores, values);
    }
  }

  float inverse[1][2], lse[1][2];
  softmax::finish(inverse, lse, running, scale);
  bf16* staging = q_tiles + half * Q_TILE / 2;
#pragma unroll
  for (int chunk = 0; chunk < CHUNKS; ++chunk) {
    const int column = half * HALF_HEAD + chunk * HALF;
    Matrix<bf16> target = out_window<bf16>(asking.out, asking, head, queries.first);
    target.first += column;
    softmax::scale_rows(out[chunk], inverse);
    store_results<HALF>(target, staging, out[chunk], row, queries.count, int(head.dim) - column,
                                  head.aligned);
  }
  if (half == 0) {
    float* lse_of_head = p.lse + head.index() * p.queries + asking.first_query + queries.first;
    store_row_values(lse_of_head, lse, row, queries.count);
  }
}

}  // namespace wide
}  // namespace attention

KERNEL(attention_forward_d512, AttentionParams, attention::wide::THREADS) {
  attention::wide::forward<attention::Masked::NO, 64, attention::Operands::ALIGNED>(p);
}

KERNEL(attention_forward_d512_masked, AttentionParams, attention::wide::THREADS) {
  attention::wide::forward<attention::Masked::YES, 32, attention::Operands::ANY>(p);
}
