// What the backward kernels need to know of every query: lse * log2(e), so that P = 2^(scale log2(e) S - that), and
// delta = rowsum(dO O), so that dS = P (dP - delta).
//
// The statistics of a stream are padded to whole tiles. A query that is not there has lse = infinity: its P is zero,
// and it adds nothing to dK and dV.
#include "attention.h"
#include "attention_walk.cuh"
#include "device/device.cuh"
#include "softmax.cuh"

namespace attention {

constexpr int STATISTICS_THREADS = 256;
constexpr int LANES = 8;   // threads that share a query of a head

// The product of the first dim elements of two rows; the same in all LANES threads.
DEVICE float dot(const bf16* a, const bf16* b, int dim, bool aligned) {
  const int lane = block::thread() % LANES;
  float sum = 0;
  if (aligned) {
    for (int at = lane * PIECE; at < dim; at += LANES * PIECE) {
      const auto x = load<PIECE>(a + at), y = load<PIECE>(b + at);
#pragma unroll
      for (int i = 0; i < PIECE; ++i) {
        sum += float(x[i]) * float(y[i]);
      }
    }
  } else {
    for (int at = lane; at < dim; at += LANES) {
      sum += float(a[at]) * float(b[at]);
    }
  }
  return warp::sum<LANES>(sum);
}

DEVICE void make_statistics(const AttentionGradientParams& p) {
  const int64_t group = int64_t(grid::block_x()) * (STATISTICS_THREADS / LANES) + block::thread() / LANES;
  const int at = int(group / p.heads);
  const Head head = {int(group % p.heads), int(grid::block_y()), p.heads, p.head_dim, p.aligned != 0};
  const int index = p.streams[1].asks && at >= int(p.streams[1].first_statistic) ? 1 : 0;
  const AttentionStream& stream = p.streams[index];
  const int token = at - int(stream.first_statistic);
  const bool in_range = at < int(p.statistics_count);
  const bool there = in_range && token < int(stream.tokens);

  const bf16* out = out_window<const bf16>(stream.out, stream, head, there ? token : 0).first;
  const bf16* dout = out_window<const bf16>(p.gradients[index].dout, stream, head, there ? token : 0).first;
  const float delta = dot(out, dout, there ? head.dim : 0, head.aligned);
  if (in_range && block::thread() % LANES == 0) {
    const float* lse = p.lse + head.index() * p.queries + stream.first_query;
    const Vector<float, 2> statistic = {there ? lse[token] * softmax::LOG2_E : math::INFINITE, delta};
    store(p.statistics + 2 * (head.index() * p.statistics_count + at), statistic);
  }
}

}  // namespace attention

KERNEL(attention_statistics, AttentionGradientParams, attention::STATISTICS_THREADS) {
  attention::make_statistics(p);
}

// Zero for the columns of dqkv that are neither queries, keys nor values; z counts streams.
KERNEL(attention_clear_columns, AttentionGradientParams, attention::STATISTICS_THREADS) {
  const AttentionStream& stream = p.streams[grid::block_z()];
  const int64_t at = int64_t(grid::block_x()) * attention::STATISTICS_THREADS + block::thread();
  const uint32_t column = at % stream.columns, width = p.heads * p.head_dim;
  const bool in_q = stream.asks && column - stream.q < width;
  const bool covered = in_q || column - stream.k < width || column - stream.v < width;
  if (at < int64_t(p.batch) * stream.tokens * stream.columns && !covered) {
    p.gradients[grid::block_z()].dqkv[at] = bf16(0.0f);
  }
}
