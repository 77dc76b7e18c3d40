// Where the queries and keys of a head lie.
//
// Streams are read and written in place. Tile 0 of the keys (or queries) is the start of the first stream, and the
// second stream starts with a tile of its own, so only the last tile of each stream is partly empty.
#pragma once
#include "attention.h"
#include "attention_tiles.cuh"
#include "device/device.cuh"

namespace attention {

// Whether a kernel also takes operands that are not aligned to sixteen bytes.
enum class Operands { ALIGNED, ANY };

// One head of one sample.
struct Head {
  int head, sample;
  uint32_t heads, dim;
  bool aligned;   // rows of every operand start at multiples of sixteen bytes

  DEVICE uint32_t column() const { return head * dim; }
  DEVICE int64_t index() const { return int64_t(sample) * heads + head; }
};

// The head of this block: y counts heads, z samples.
DEVICE Head this_head(uint32_t heads, uint32_t dim, bool aligned) {
  return {int(grid::block_y()), int(grid::block_z()), heads, dim, aligned};
}

// Some tokens of one stream.
struct Rows {
  int stream;
  int first;
  int count;   // that are there
};

// A tile of ROWS of a stream.
template <int ROWS>
DEVICE Rows rows_of(const AttentionStream* streams, int stream, int tile) {
  const int first = tile * ROWS;
  return {stream, first, min(ROWS, int(streams[stream].tokens) - first)};
}

template <int ROWS>
DEVICE int key_tiles(const AttentionStream& stream) {
  return (int(stream.tokens) + ROWS - 1) / ROWS;
}

template <int ROWS>
DEVICE int query_tiles(const AttentionStream& stream) {
  return stream.asks ? key_tiles<ROWS>(stream) : 0;
}

template <int ROWS>
DEVICE int all_key_tiles(const AttentionStream* streams) {
  return key_tiles<ROWS>(streams[0]) + key_tiles<ROWS>(streams[1]);
}

template <int ROWS>
DEVICE int all_query_tiles(const AttentionStream* streams) {
  return query_tiles<ROWS>(streams[0]) + query_tiles<ROWS>(streams[1]);
}

// The tile-th tile of all keys.
template <int ROWS>
DEVICE Rows key_rows(const AttentionStream* streams, int tile) {
  const int of_first = key_tiles<ROWS>(streams[0]);
  return tile < of_first ? rows_of<ROWS>(streams, 0, tile) : rows_of<ROWS>(streams, 1, tile - of_first);
}

// The tile-th tile of all queries.
template <int ROWS>
DEVICE Rows query_rows(const AttentionStream* streams, int tile) {
  const int of_first = query_tiles<ROWS>(streams[0]);
  return tile < of_first ? rows_of<ROWS>(streams, 0, tile) : rows_of<ROWS>(streams, 1, tile - of_first);
}

// A sample's tokens from `first` on, in columns of the head from `column` on, of a tensor `columns` wide.
template <typename T>
DEVICE Matrix<T> window(T* tensor, const AttentionStream& stream, const Head& head, int first, uint32_t columns,
                            uint32_t column) {
  const int64_t row = int64_t(head.sample) * stream.tokens + first;
  return {tensor + row * columns + column + head.column(), columns};
}

// The same of O or dO, heads side by side.
template <typename T>
DEVICE Matrix<T> out_window(T* tensor, const AttentionStream& stream, const Head& head, int first) {
  return window<T>(tensor, stream, head, first, head.heads * head.dim, 0);
}

// Two matrices of which a loop takes a tile of rows each at a time.
struct Walk {
  Matrix<const bf16> a, b;
  int left;   // rows, from here to the end of the stream
};

// K and V of a stream from token `first` on.
DEVICE Walk walk_keys(const AttentionStream& stream, const Head& head, int first = 0) {
  return {window<const bf16>(stream.qkv, stream, head, first, stream.columns, stream.k),
          window<const bf16>(stream.qkv, stream, head, first, stream.columns, stream.v), int(stream.tokens) - first};
}

// Moves on by a tile within the stream.
template <int ROWS>
DEVICE void advance(Walk& walk) {
  walk.a.first += ROWS * walk.a.stride;
  walk.b.first += ROWS * walk.b.stride;
  walk.left -= ROWS;
}

// Moves on by a tile of keys of all streams; there is one.
template <int ROWS>
DEVICE void advance_keys(Walk& walk, const AttentionStream* streams, const Head& head) {
  advance<ROWS>(walk);
  if (walk.left <= 0) {
    walk = walk_keys(streams[1], head);
  }
}

// Starts to copy a tile of both.
template <int ROWS, int HEAD_DIM, int THREADS>
DEVICE void load_pair(bf16* a_tile, bf16* b_tile, const Walk& walk, const Head& head) {
  load_tile<ROWS, HEAD_DIM, THREADS>(a_tile, walk.a, walk.left, head.dim, head.aligned);
  load_tile<ROWS, HEAD_DIM, THREADS>(b_tile, walk.b, walk.left, head.dim, head.aligned);
}

}  // namespace attention
