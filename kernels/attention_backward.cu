// dQ, dK, dV of unmasked attention, for heads of at most 128 columns, in a fixed order and without atomics.
//
//   P = exp(scale Q K^T - lse);  dV = P^T dO;  dP = dO V^T;  dS = P (dP - delta);  dQ = scale dS K;  dK = scale dS^T Q
//
// with delta = rowsum(dO O). One kernel makes the statistics (lse, delta); one walks over the queries for each tile of
// keys and makes dK and dV; one walks over the keys for each tile of queries and makes dQ. The last two both make P and
// dP, which costs two products of seven and buys sums that no two blocks share.
//
// The trick: the kernel of dK and dV works on S^T, whose rows are keys. Then P^T and dS^T leave a product in the very
// fragments in which the next one wants them, as P does in the forward kernel, and nothing of them is ever in memory.
#include "attention.h"
#include "attention_mask.cuh"
#include "attention_tiles.cuh"
#include "attention_walk.cuh"
#include "device/device.cuh"
#include "softmax.cuh"

namespace attention {

constexpr int WARPS = 4;
constexpr int THREADS = WARPS * 32;

// Q and dO of a stream from token `first` on.
DEVICE Walk walk_queries(const AttentionGradientParams& p, int index, const Head& head, int first = 0) {
  const AttentionStream& stream = p.streams[index];
  return {window<const bf16>(stream.qkv, stream, head, first, stream.columns, stream.q),
          out_window<const bf16>(p.gradients[index].dout, stream, head, first), int(stream.tokens) - first};
}

// Statistics of a head's queries from one on; streams are padded to whole tiles.
DEVICE const float* statistics_of(const AttentionGradientParams& p, const Head& head, int first) {
  return p.statistics + 2 * (head.index() * p.statistics_count + first);
}

// Where the gradient of some tokens goes.
DEVICE Matrix<bf16> gradient_window(const AttentionGradientParams& p, const Rows& rows, const Head& head,
                                               uint32_t column) {
  const AttentionStream& stream = p.streams[rows.stream];
  return window<bf16>(p.gradients[rows.stream].dqkv, stream, head, rows.first, stream.columns, column);
}

// Makes P = 2^(scale * score - lse) over scores and dS = P (dP - delta) over dP, where columns are queries.
template <int M_TILES, int N_TILES>
DEVICE void score_gradient_by_column(float (&scores)[M_TILES][N_TILES][4], float (&dp)[M_TILES][N_TILES][4],
                                     const float* statistics, float scale) {
#pragma unroll
  for (int n = 0; n < N_TILES; ++n) {
    const auto of_two = load<4>(statistics + 2 * (n * 8 + mma::column(0)));
#pragma unroll
    for (int m = 0; m < M_TILES; ++m) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const float lse = of_two[i % 2 * 2], delta = of_two[i % 2 * 2 + 1];
        scores[m][n][i] = fast::exp2(scores[m][n][i] * scale - lse);
        dp[m][n][i] = scores[m][n][i] * (dp[m][n][i] - delta);
      }
    }
  }
}

// Starts to copy the statistics of a tile of queries.
template <int QUERIES>
DEVICE void load_statistics_tile(float* tile, const float* statistics) {
  constexpr int FLOATS = 4;   // in sixteen bytes
  if (block::thread() < 2 * QUERIES / FLOATS) {
    cp_async::copy_16(tile + block::thread() * FLOATS, statistics + block::thread() * FLOATS, true);
  }
}

// The statistics of a thread's rows, of which there are `rows`; the others get P = 0.
template <int M_TILES>
DEVICE void load_statistics(float (&lse)[M_TILES][2], float (&delta)[M_TILES][2], const float* statistics, int row,
                                int rows) {
#pragma unroll
  for (int m = 0; m < M_TILES; ++m) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int at = row + m * 16 + half * 8 + warp::lane() / 4;
      lse[m][half] = at < rows ? statistics[2 * at] : math::INFINITE;
      delta[m][half] = at < rows ? statistics[2 * at + 1] : 0.0f;
    }
  }
}

// dS = P (dP - delta) over dP, for P = 2^(scale * score - lse) and rows that are queries.
template <int M_TILES, int N_TILES>
DEVICE void score_gradient_by_row(float (&dp)[M_TILES][N_TILES][4], const float (&scores)[M_TILES][N_TILES][4],
                                      const float (&lse)[M_TILES][2], const float (&delta)[M_TILES][2], float scale) {
#pragma unroll
  for (int m = 0; m < M_TILES; ++m) {
#pragma unroll
    for (int n = 0; n < N_TILES; ++n) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const float p = fast::exp2(scores[m][n][i] * scale - lse[m][i / 2]);
        dp[m][n][i] = p * (dp[m][n][i] - delta[m][i / 2]);
      }
    }
  }
}

template <int M_TILES>
DEVICE void fill(float (&factors)[M_TILES][2], float value) {
#pragma unroll
  for (int m = 0; m < M_TILES; ++m) {
    factors[m][0] = factors[m][1] = value;
  }
}

// dK and dV of 64 * M_TILES keys.
template <int HEAD_DIM, int M_TILES, Operands OPERANDS>
DEVICE void backward_keys(const AttentionGradientParams& p) {
  constexpr int QUERIES = ATTENTION_STATISTICS_TILE;
  constexpr int BLOCK_KV = WARPS * 16 * M_TILES;
  constexpr int TILE = QUERIES * HEAD_DIM;
  DYNAMIC_SHARED(shared);
  bf16* k_tile = reinterpret_cast<bf16*>(shared);
  bf16* v_tile = k_tile + BLOCK_KV * HEAD_DIM;
  bf16* q_tiles = v_tile + BLOCK_KV * HEAD_DIM;
  bf16* dout_tiles = q_tiles + 2 * TILE;
  float* statistics_tiles = reinterpret_cast<float*>(dout_tiles + 2 * TILE);

  const Head head = this_head(p.heads, p.head_dim, OPERANDS == Operands::ALIGNED || p.aligned);
  const Rows keys = key_rows<BLOCK_KV>(p.streams, grid::block_x());
  const AttentionStream& stream = p.streams[keys.stream];
  load_pair<BLOCK_KV, HEAD_DIM, THREADS>(k_tile, v_tile, walk_keys(stream, head, keys.first), head);

  Walk walk = walk_queries(p, p.streams[0].asks ? 0 : 1, head);
  const float* statistics = statistics_of(p, head, 0);
  load_pair<QUERIES, HEAD_DIM, THREADS>(q_tiles, dout_tiles, walk, head);
  load_statistics_tile<QUERIES>(statistics_tiles, statistics);
  cp_async::commit();

  const int row = warp::index() * 16 * M_TILES;
  const int tiles = all_query_tiles<QUERIES>(p.streams);
  const float scale = p.scale * softmax::LOG2_E;
  float dk[M_TILES][HEAD_DIM / 8][4] = {}, dv[M_TILES][HEAD_DIM / 8][4] = {};
  for (int tile = 0; tile < tiles; ++tile) {
    const int now = tile % 2, next = 1 - now;
    cp_async::wait<0>();
    block::sync();
    if (tile + 1 < tiles) {
      advance<QUERIES>(walk);
      statistics += 2 * QUERIES;
      if (walk.left <= 0) {
        walk = walk_queries(p, 1, head);
      }
      load_pair<QUERIES, HEAD_DIM, THREADS>(q_tiles + next * TILE, dout_tiles + next * TILE, walk, head);
      load_statistics_tile<QUERIES>(statistics_tiles + next * 2 * QUERIES, statistics);
      cp_async::commit();
    }
    float probabilities[M_TILES][QUERIES / 8][4] = {}, ds[M_TILES][QUERIES / 8][4] = {};
    multiply_rows<HEAD_DIM>(probabilities, k_tile, row, q_tiles + now * TILE);
    multiply_rows<HEAD_DIM>(ds, v_tile, row, dout_tiles + now * TILE);
    score_gradient_by_column(probabilities, ds, statistics_tiles + now * 2 * QUERIES, scale);
    add_product<HEAD_DIM>(dv, probabilities, dout_tiles + now * TILE);
    add_product<HEAD_DIM>(dk, ds, q_tiles + now * TILE);
  }

  float scales[M_TILES][2];
  fill(scales, p.scale);
  softmax::scale_rows(dk, scales);
  const auto dk_window = gradient_window(p, keys, head, stream.k), dv_window = gradient_window(p, keys, head, stream.v);
  store_results<HEAD_DIM>(dk_window, k_tile, dk, row, keys.count, head.dim, head.aligned);
  store_results<HEAD_DIM>(dv_window, v_tile, dv, row, keys.count, head.dim, head.aligned);
}

// dQ of 64 * M_TILES queries.
template <int HEAD_DIM, int M_TILES, int KEYS, Operands OPERANDS>
DEVICE void backward_queries(const AttentionGradientParams& p) {
  constexpr int BLOCK_Q = WARPS * 16 * M_TILES;
  constexpr int TILE = KEYS * HEAD_DIM;
  DYNAMIC_SHARED(shared);
  bf16* q_tile = reinterpret_cast<bf16*>(shared);
  bf16* dout_tile = q_tile + BLOCK_Q * HEAD_DIM;
  bf16* k_tiles = dout_tile + BLOCK_Q * HEAD_DIM;
  bf16* v_tiles = k_tiles + 2 * TILE;

  const Head head = this_head(p.heads, p.head_dim, OPERANDS == Operands::ALIGNED || p.aligned);
  const Rows queries = query_rows<BLOCK_Q>(p.streams, grid::block_x());
  load_pair<BLOCK_Q, HEAD_DIM, THREADS>(q_tile, dout_tile, walk_queries(p, queries.stream, head, queries.first), head);
  Walk walk = walk_keys(p.streams[0], head);
  load_pair<KEYS, HEAD_DIM, THREADS>(k_tiles, v_tiles, walk, head);
  cp_async::commit();

  const int row = warp::index() * 16 * M_TILES;
  float lse[M_TILES][2], delta[M_TILES][2];
  const int first = p.streams[queries.stream].first_statistic + queries.first;
  load_statistics(lse, delta, statistics_of(p, head, first), row, queries.count);
  const int tiles = all_key_tiles<KEYS>(p.streams);
  const float scale = p.scale * softmax::LOG2_E;
  float dq[M_TILES][HEAD_DIM / 8][4] = {};
  for (int tile = 0; tile < tiles; ++tile) {
    const int now = tile % 2, next = 1 - now;
    const int there = walk.left;
    cp_async::wait<0>();
    block::sync();
    if (tile + 1 < tiles) {
      advance_keys<KEYS>(walk, p.streams, head);
      load_pair<KEYS, HEAD_DIM, THREADS>(k_tiles + next * TILE, v_tiles + next * TILE, walk, head);
      cp_async::commit();
    }
    float scores[M_TILES][KEYS / 8][4] = {}, ds[M_TILES][KEYS / 8][4] = {};
    multiply_rows<HEAD_DIM>(scores, q_tile, row, k_tiles + now * TILE);
    if (there < KEYS) {
      hide_absent(scores, there);
    }
    multiply_rows<HEAD_DIM>(ds, dout_tile, row, v_tiles + now * TILE);
    score_gradient_by_row(ds, scores, lse, delta, scale);
    add_product<HEAD_DIM>(dq, ds, k_tiles + now * TILE);
  }

  float scales[M_TILES][2];
  fill(scales, p.scale);
  softmax::scale_rows(dq, scales);
  store_results<HEAD_DIM>(gradient_window(p, queries, head, p.streams[queries.stream].q), q_tile, dq, row,
                          queries.count, head.dim, head.aligned);
}

}  // namespace attention

KERNEL(attention_backward_keys_d64, AttentionGradientParams, attention::THREADS) {
  attention::backward_keys<64, 2, attention::Operands::ALIGNED>(p);
}

KERNEL(attention_backward_queries_d64, AttentionGradientParams, attention::THREADS) {
  attention::backward_queries<64, 2, 32, attention::Operands::ALIGNED>(p);
}

KERNEL(attention_backward_keys_d128, AttentionGradientParams, attention::THREADS) {
  attention::backward_keys<128, 1, attention::Operands::ANY>(p);
}

KERNEL(attention_backward_queries_d128, AttentionGradientParams, attention::THREADS) {
  attention::backward_queries<128, 1, 32, attention::Operands::ANY>(p);
}
