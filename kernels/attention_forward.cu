// O = softmax(scale Q K^T + mask) V and its log-sum-exp, for heads of at most 128 columns.
//
// A block makes a tile of queries of one head of one sample: its warps own 16 * M_TILES queries each, keep Q in
// fragments, and walk over the keys of all streams a tile at a time (FlashAttention-2, arXiv 2307.08691):
//
//   S = Q K^T;  P = softmax so far (S);  O = shrunk O + P V
//
// The trick: the fragments in which a product leaves S are those in which the next one wants P, so scores never leave
// registers. K and V of the next tile are copied while this one is worked on; one barrier a tile says both that
// the tile has arrived and that nobody still reads the other buffer.
#include "attention.h"
#include "attention_mask.cuh"
#include "attention_tiles.cuh"
#include "attention_walk.cuh"
#include "device/device.cuh"
#include "softmax.cuh"

namespace attention {

constexpr int WARPS = 4;
constexpr int THREADS = WARPS * 32;
constexpr int BLOCK_KV = 64;

template <int HEAD_DIM, int M_TILES, Masked MASKED, Operands OPERANDS>
DEVICE void forward(const AttentionParams& p) {
  constexpr int BLOCK_Q = WARPS * 16 * M_TILES;
  constexpr int TILE = BLOCK_KV * HEAD_DIM;
  constexpr int STEPS = HEAD_DIM / 16;
  DYNAMIC_SHARED(shared);
  bf16* q_tile = reinterpret_cast<bf16*>(shared);
  bf16* k_tiles = q_tile + BLOCK_Q * HEAD_DIM;
  bf16* v_tiles = k_tiles + 2 * TILE;
  float* biases = reinterpret_cast<float*>(v_tiles + 2 * TILE);

  const Head head = this_head(p.heads, p.head_dim, OPERANDS == Operands::ALIGNED || p.aligned);
  const Rows queries = query_rows<BLOCK_Q>(p.streams, grid::block_x());
  const AttentionStream& asking = p.streams[queries.stream];
  const int row = warp::index() * 16 * M_TILES;
  const auto q = window<const bf16>(asking.qkv, asking, head, queries.first, asking.columns, asking.q);
  load_tile<BLOCK_Q, HEAD_DIM, THREADS>(q_tile, q, queries.count, head.dim, head.aligned);
  cp_async::commit();
  Walk walk = walk_keys(p.streams[0], head);
  load_pair<BLOCK_KV, HEAD_DIM, THREADS>(k_tiles, v_tiles, walk, head);
  cp_async::commit();
  if (MASKED == Masked::YES) {
    load_biases<THREADS>(biases, p, head);
  }
  cp_async::wait<1>();
  block::sync();
  uint32_t q_fragments[STEPS][M_TILES][4];
#pragma unroll
  for (int step = 0; step < STEPS; ++step) {
#pragma unroll
    for (int m = 0; m < M_TILES; ++m) {
      load_a<HEAD_DIM>(q_fragments[step][m], q_tile, row + m * 16, step);
    }
  }

  const int all_tiles = all_key_tiles<BLOCK_KV>(p.streams);
  const int tiles = MASKED == Masked::YES ? visible_key_tiles<BLOCK_KV>(p, queries) : all_tiles;
  const float scale = MASKED == Masked::YES ? masked_scale(p) : p.scale * softmax::LOG2_E;
  softmax::Running<M_TILES> running;
  softmax::start(running);
  float out[M_TILES][HEAD_DIM / 8][4] = {};
  for (int tile = 0; tile < tiles; ++tile) {
    bf16* k_tile = k_tiles + tile % 2 * TILE;
    bf16* v_tile = v_tiles + tile % 2 * TILE;
    const int there = walk.left;
    cp_async::wait<0>();
    block::sync();
    if (tile + 1 < tiles) {
      const int next = (tile + 1) % 2 * TILE;
      advance_keys<BLOCK_KV>(walk, p.streams, head);
      load_pair<BLOCK_KV, HEAD_DIM, THREADS>(k_tiles + next, v_tiles + next, walk, head);
      cp_async::commit();
    }

    float scores[M_TILES][BLOCK_KV / 8][4] = {};
#pragma unroll
    for (int step = 0; step < STEPS; ++step) {
      uint32_t keys[BLOCK_KV / 8][2];
      load_b<BLOCK_KV / 8, HEAD_DIM>(keys, k_tile, step);
      mma_tile(scores, q_fragments[step], keys);
    }
    if (MASKED == Masked::YES) {
      apply_mask(scores, p, biases, score_place(queries.first + row, tile * BLOCK_KV), head.sample);
    }
    if (there < BLOCK_KV) {
      hide_absent(scores, there);
    }
    float shrink[M_TILES][2];
    if (softmax::update(running, shrink, scores, scale)) {
      softmax::scale_rows(out, shrink);
    }
    add_product<HEAD_DIM>(out, scores, v_tile);
  }

  float inverse[M_TILES][2], lse[M_TILES][2];
  softmax::finish(inverse, lse, running, scale);
  softmax::scale_rows(out, inverse);
  store_results<HEAD_DIM>(out_window<bf16>(asking.out, asking, head, queries.first), q_tile, out, row, queries.count,
                          head.dim, head.aligned);
  float* lse_of_head = p.lse + head.index() * p.queries + asking.first_query + queries.first;
  store_row_values(lse_of_head, lse, row, queries.count);
}

}  // namespace attention

KERNEL(attention_forward_d64, AttentionParams, attention::THREADS) {
  attention::forward<64, 2, attention::Masked::NO, attention::Operands::ALIGNED>(p);
}

KERNEL(attention_forward_d64_masked, AttentionParams, attention::THREADS) {
  attention::forward<64, 2, attention::Masked::YES, attention::Operands::ALIGNED>(p);
}

KERNEL(attention_forward_d128, AttentionParams, attention::THREADS) {
  attention::forward<128, 1, attention::Masked::YES, attention::Operands::ANY>(p);
}
