// Attention whose activations stay f32, for frozen encoders: O = softmax(scale Q K^T + mask) V and its log-sum-exp, in
// plain f32 arithmetic without tensor cores.
//
// A block has some queries of one head and walks over tiles of 64 keys. Its threads form a square of 16 x 16: a
// thread has QUERIES / 16 neighbouring rows, of the scores every sixteenth column, of O four neighbouring columns out of
// every 64. So the sixteen threads of a row are half a warp, which finds the row's largest score and sum by shuffles.
//
// Heads of up to 512 do not fit shared memory whole: scores sum over slices of the head, and O over a few keys at a
// time; both stages share one piece of memory. Rows in shared memory are padded by four floats, so that sixteen bytes
// of neighbouring rows meet no bank twice.
#include "attention_exact.h"
#include "device/device.cuh"

namespace attention_exact {

constexpr int THREADS = 256;
constexpr int SIDE = 16;       // threads of a row, and rows of threads
constexpr int KEYS = 64;       // of a tile
constexpr int SLICE = 32;      // columns of Q and K at a time
constexpr int WIDTH = 4;       // floats of sixteen bytes
constexpr int PITCH = SLICE + WIDTH;
constexpr int POWERS = KEYS + WIDTH;    // floats from row to row of the powers
constexpr int SCORES = KEYS / SIDE;     // of a thread in a row

using Quad = Vector<float, WIDTH>;

// Heads of at most DIM, QUERIES at a time; V passes VALUES keys at a time.
template <int DIM_, int QUERIES_, int VALUES_>
struct Shape {
  static constexpr int DIM = DIM_, QUERIES = QUERIES_, VALUES = VALUES_;
  static constexpr int ROWS = QUERIES / SIDE;           // of a thread
  static constexpr int PARTS = DIM / (SIDE * WIDTH);    // quads of O of a thread in a row
  static constexpr int OPERANDS = (QUERIES + KEYS) * PITCH;
  static constexpr int STAGE = OPERANDS > VALUES * DIM ? OPERANDS : VALUES * DIM;
};

// What a thread knows of its rows.
template <class S>
struct Running {
  float largest[S::ROWS];
  float sum[S::ROWS];
  float o[S::ROWS][S::PARTS][WIDTH];

  DEVICE void clear() {
#pragma unroll
    for (int i = 0; i < S::ROWS; ++i) {
      largest[i] = -math::INFINITE;
      sum[i] = 0.0f;
#pragma unroll
      for (int part = 0; part < S::PARTS; ++part)
#pragma unroll
        for (int e = 0; e < WIDTH; ++e) o[i][part][e] = 0.0f;
    }
  }
};

// Queries of a block: a stream, the first and how many there are.
struct Queries {
  int stream, first, count;
};

DEVICE int tiles(uint32_t tokens, int size) { return (int(tokens) + size - 1) / size; }

template <class S>
DEVICE Queries queries_of(const AttentionExactParams& p, int block) {
  const int before = p.streams[0].asks ? tiles(p.streams[0].tokens, S::QUERIES) : 0;
  const int stream = block < before ? 0 : 1;
  const int first = (stream == 0 ? block : block - before) * S::QUERIES;
  return {stream, first, min(S::QUERIES, int(p.streams[stream].tokens) - first)};
}

// The row of a token in the sample of this block.
DEVICE const float* row_of(const AttentionExactStream& stream, int token) {
  return stream.qkv + (int64_t(grid::block_z()) * stream.tokens + token) * stream.columns;
}

// Column of this block's head within queries, keys or values.
DEVICE uint32_t head_column(const AttentionExactParams& p) { return grid::block_y() * p.head_dim; }

// Four columns of a row from `column` on, zeros from `end` on.
DEVICE Quad load_quad(const float* row, int column, int end, bool aligned) {
  Quad quad;
  if (aligned && column + WIDTH <= end) {
    quad.load(row + column);
  } else {
#pragma unroll
    for (int e = 0; e < WIDTH; ++e) quad[e] = column + e < end ? row[column + e] : 0.0f;
  }
  return quad;
}

// Copies COLUMNS columns of ROWS tokens, those from `begin` of what starts at column `part`; zeros beyond `count`
// tokens and beyond the head.
template <int ROWS, int COLUMNS, int TO_PITCH>
DEVICE void stage_rows(float* to, const AttentionExactParams& p, const AttentionExactStream& stream, uint32_t part,
                       int first, int count, int begin) {
  constexpr int QUADS = COLUMNS / WIDTH;
  for (int i = block::thread(); i < ROWS * QUADS; i += THREADS) {
    const int row = i / QUADS, column = i % QUADS * WIDTH;
    const int end = row < count ? int(p.head_dim) : 0;
    const float* from = row_of(stream, row < count ? first + row : first) + part + head_column(p);
    load_quad(from, begin + column, end, p.aligned).store(to + row * TO_PITCH + column);
  }
}

// Scores of the block's queries and of `count` keys from `first` on, without scale and mask.
template <class S>
DEVICE void score(float (&scores)[S::ROWS][SCORES], float* stage, const AttentionExactParams& p,
                  const Queries& queries, const AttentionExactStream& keys, int first, int count) {
  const int thread_row = block::thread() / SIDE, thread_column = block::thread() % SIDE;
  const AttentionExactStream& asking = p.streams[queries.stream];
  float* k = stage + S::QUERIES * PITCH;
#pragma unroll
  for (int i = 0; i < S::ROWS; ++i)
#pragma unroll
    for (int j = 0; j < SCORES; ++j) scores[i][j] = 0.0f;
#pragma unroll 1
  for (int begin = 0; begin < int(p.head_dim); begin += SLICE) {
    block::sync();
    stage_rows<S::QUERIES, SLICE, PITCH>(stage, p, asking, asking.q, queries.first, queries.count, begin);
    stage_rows<KEYS, SLICE, PITCH>(k, p, keys, keys.k, first, count, begin);
    block::sync();
#pragma unroll 2
    for (int d = 0; d < SLICE; d += WIDTH) {
      Quad a[S::ROWS], b[SCORES];
#pragma unroll
      for (int i = 0; i < S::ROWS; ++i) a[i].load(stage + (thread_row * S::ROWS + i) * PITCH + d);
#pragma unroll
      for (int j = 0; j < SCORES; ++j) b[j].load(k + (thread_column + j * SIDE) * PITCH + d);
#pragma unroll
      for (int e = 0; e < WIDTH; ++e)
#pragma unroll
        for (int i = 0; i < S::ROWS; ++i)
#pragma unroll
          for (int j = 0; j < SCORES; ++j) scores[i][j] = math::fma(a[i][e], b[j][e], scores[i][j]);
    }
  }
}

// Writes the bias of the block's head, if the mask has one, for key - query from -ATTENTION_DISTANCES on.
DEVICE void load_biases(float* biases, const AttentionExactParams& p) {
  if (p.mask != ATTENTION_MASK_RELATIVE_BIAS) return;
  for (int i = block::thread(); i < 2 * ATTENTION_DISTANCES; i += THREADS) {
    const int relative = i - ATTENTION_DISTANCES;
    const int bucket =
        relative > 0 ? p.bucket_ahead[relative] : p.bucket_behind[min(-relative, ATTENTION_DISTANCES - 1)];
    const uint32_t at = bucket * p.heads + grid::block_y();
    biases[i] = p.bias_table_f32 ? p.bias_table_f32[at] : float(p.bias_table[at]);
  }
}

// Scales and masks scores of keys from `first` on, of which `count` are there; a key that a query does not see has minus
// infinity.
template <class S>
DEVICE void apply_mask(float (&scores)[S::ROWS][SCORES], const AttentionExactParams& p, const float* biases,
                       const Queries& queries, int first, int count) {
  const int query = queries.first + block::thread() / SIDE * S::ROWS;
  const int* ids = p.ids ? p.ids + int64_t(grid::block_z()) * p.streams[0].tokens : nullptr;
#pragma unroll
  for (int j = 0; j < SCORES; ++j) {
    const int place = block::thread() % SIDE + j * SIDE, key = first + place;
    bool there = place < count;
    if (there && ids) there = ids[key] != 0;
    const int seen_from = p.mask == ATTENTION_MASK_CAUSAL ? key : 0;   // the first query that sees the key
#pragma unroll
    for (int i = 0; i < S::ROWS; ++i) {
      float score = scores[i][j] * p.scale;
      if (p.mask == ATTENTION_MASK_RELATIVE_BIAS) {
        const int relative = max(-ATTENTION_DISTANCES, min(key - query - i, ATTENTION_DISTANCES - 1));
        score += biases[relative + ATTENTION_DISTANCES];
      }
      scores[i][j] = there && seen_from <= query + i ? score : -math::INFINITE;
    }
  }
}

// Turns scores into powers of e above the largest so far, in shared memory; what is summed so far shrinks to match.
template <class S>
DEVICE void take_powers(float* powers, Running<S>& running, const float (&scores)[S::ROWS][SCORES]) {
  const int thread_row = block::thread() / SIDE, thread_column = block::thread() % SIDE;
#pragma unroll
  for (int i = 0; i < S::ROWS; ++i) {
    float largest = running.largest[i];
#pragma unroll
    for (int j = 0; j < SCORES; ++j) largest = math::max(largest, scores[i][j]);
    largest = warp::max<SIDE>(largest);
    // A row in which everything is masked so far stays at zero.
    const float reference = largest == -math::INFINITE ? 0.0f : largest;
    const float shrink = math::exp(running.largest[i] - reference);
    float sum = 0.0f;
#pragma unroll
    for (int j = 0; j < SCORES; ++j) {
      const float power = math::exp(scores[i][j] - reference);
      powers[(thread_row * S::ROWS + i) * POWERS + thread_column + j * SIDE] = power;
      sum += power;
    }
    running.largest[i] = largest;
    running.sum[i] = running.sum[i] * shrink + warp::sum<SIDE>(sum);
#pragma unroll
    for (int part = 0; part < S::PARTS; ++part)
#pragma unroll
      for (int e = 0; e < WIDTH; ++e) running.o[i][part][e] *= shrink;
  }
}

// Adds the values of `count` keys from `first` on, weighted by their powers.
template <class S>
DEVICE void add_values(Running<S>& running, float* stage, const float* powers, const AttentionExactParams& p,
                       const AttentionExactStream& keys, int first, int count) {
  const int thread_row = block::thread() / SIDE, thread_column = block::thread() % SIDE;
#pragma unroll 1
  for (int begin = 0; begin < count; begin += S::VALUES) {
    block::sync();
    stage_rows<S::VALUES, S::DIM, S::DIM>(stage, p, keys, keys.v, first + begin, count - begin, 0);
    block::sync();
#pragma unroll 4
    for (int key = 0; key < S::VALUES; ++key) {
      float power[S::ROWS];
#pragma unroll
      for (int i = 0; i < S::ROWS; ++i) power[i] = powers[(thread_row * S::ROWS + i) * POWERS + begin + key];
#pragma unroll
      for (int part = 0; part < S::PARTS; ++part) {
        const Quad v = load<WIDTH>(stage + key * S::DIM + (part * SIDE + thread_column) * WIDTH);
#pragma unroll
        for (int i = 0; i < S::ROWS; ++i)
#pragma unroll
          for (int e = 0; e < WIDTH; ++e) running.o[i][part][e] = math::fma(power[i], v[e], running.o[i][part][e]);
      }
    }
  }
}

// Writes O and log-sum-exp.
template <class S>
DEVICE void write(const Running<S>& running, const AttentionExactParams& p, const Queries& queries) {
  const int thread_row = block::thread() / SIDE, thread_column = block::thread() % SIDE;
  const AttentionExactStream& stream = p.streams[queries.stream];
#pragma unroll
  for (int i = 0; i < S::ROWS; ++i) {
    const int row = thread_row * S::ROWS + i, query = queries.first + row;
    if (row >= queries.count) continue;
    const float sum = running.sum[i], inverse = sum > 0.0f ? 1.0f / sum : 0.0f;
    const int64_t token = int64_t(grid::block_z()) * stream.tokens + query;
    float* out = stream.out + token * p.heads * p.head_dim + head_column(p);
#pragma unroll
    for (int part = 0; part < S::PARTS; ++part) {
#pragma unroll
      for (int e = 0; e < WIDTH; ++e) {
        const uint32_t column = (part * SIDE + thread_column) * WIDTH + e;
        if (column < p.head_dim) out[column] = running.o[i][part][e] * inverse;
      }
    }
    const int64_t head = int64_t(grid::block_z()) * p.heads + grid::block_y();
    if (thread_column == 0) p.lse[head * p.queries + stream.first_query + query] = running.largest[i] + math::log(sum);
  }
}

// A block's queries, from start to end.
template <class S>
DEVICE void attend(const AttentionExactParams& p, float* stage, float* powers, float* biases) {
  const Queries queries = queries_of<S>(p, grid::block_x());
  load_biases(biases, p);
  Running<S> running;
  running.clear();
#pragma unroll 1
  for (int s = 0; s < 2; ++s) {
    const AttentionExactStream& keys = p.streams[s];
    const bool causal = p.mask == ATTENTION_MASK_CAUSAL;
    const int visible = causal ? queries.first + queries.count : int(keys.tokens);
#pragma unroll 1
    for (int first = 0; first < min(visible, int(keys.tokens)); first += KEYS) {
      const int count = min(KEYS, int(keys.tokens) - first);
      float scores[S::ROWS][SCORES];
      score<S>(scores, stage, p, queries, keys, first, count);
      apply_mask<S>(scores, p, biases, queries, first, count);
      take_powers<S>(powers, running, scores);
      add_values<S>(running, stage, powers, p, keys, first, count);
    }
  }
  write<S>(running, p, queries);
}

}  // namespace attention_exact

KERNEL(attention_exact_64, AttentionExactParams, attention_exact::THREADS) {
  using S = attention_exact::Shape<64, 64, 64>;
  SHARED(float, stage, S::STAGE);
  SHARED(float, powers, S::QUERIES * attention_exact::POWERS);
  SHARED(float, biases, 2 * ATTENTION_DISTANCES);
  attention_exact::attend<S>(p, stage, powers, biases);
}

KERNEL(attention_exact_512, AttentionExactParams, attention_exact::THREADS) {
  using S = attention_exact::Shape<512, 32, 16>;
  SHARED(float, stage, S::STAGE);
  SHARED(float, powers, S::QUERIES * attention_exact::POWERS);
  SHARED(float, biases, 2 * ATTENTION_DISTANCES);
  attention_exact::attend<S>(p, stage, powers, biases);
}
