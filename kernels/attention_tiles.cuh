// Tiles of rows in shared memory, the fragments that products take from them, and results on their way out.
//
// A tile holds rows of COLUMNS bf16. Piece i (sixteen bytes) of row r lies at place i ^ (r & 7) of its row: the eight
// rows that one matrix of ldmatrix reads, and the pieces that neighbouring threads write, then touch all banks. Rows
// and columns that are not there are zero.
#pragma once
#include "device/device.cuh"

namespace attention {

constexpr int PIECE = 8;   // bf16 in sixteen bytes

// A matrix in global memory, one row a token.
template <typename T>
struct Matrix {
  T* first;
  uint32_t stride;
};

// The place of a piece in a tile.
template <int COLUMNS>
DEVICE bf16* piece_at(bf16* tile, int row, int piece) {
  return tile + row * COLUMNS + (piece ^ (row & 7)) * PIECE;
}

// Starts to copy `rows` rows of `columns` columns into a tile of ROWS x COLUMNS. Without alignment to sixteen bytes the
// copy is made element by element, at once.
template <int ROWS, int COLUMNS, int THREADS>
DEVICE void load_tile(bf16* tile, Matrix<const bf16> from, int rows, int columns, bool aligned) {
  constexpr int PIECES = COLUMNS / PIECE;
  constexpr int STEP = THREADS / PIECES;   // rows that the threads copy at a time
  static_assert(STEP % 8 == 0 && ROWS % STEP == 0, "a thread's pieces lie at the same place of their rows");
  const int piece = block::thread() % PIECES;
  const int first_row = block::thread() / PIECES;
  const bf16* source = from.first + first_row * from.stride + piece * PIECE;
  bf16* target = piece_at<COLUMNS>(tile, first_row, piece);
  const int columns_left = columns - piece * PIECE;
  const int rows_left = columns_left > 0 ? rows - first_row : 0;
  if (aligned) {
#pragma unroll
    for (int row = 0; row < ROWS; row += STEP) {
      cp_async::copy_16(target + row * COLUMNS, source + row * from.stride, row < rows_left);
    }
  } else {
    for (int row = 0; row < ROWS; row += STEP) {
      Vector<bf16, PIECE> values;
#pragma unroll
      for (int i = 0; i < PIECE; ++i) {
        values[i] = row < rows_left && i < columns_left ? source[row * from.stride + i] : bf16(0.0f);
      }
      store(target + row * COLUMNS, values);
    }
  }
}

// The elements from the start of eight aligned rows or more to this thread's piece of a matrix or four, for ldmatrix.
// Steps to other pieces are exclusive ors: bits of the swizzle never carry.
template <int COLUMNS>
DEVICE int lane_offset(int row, int piece) {
  return row * COLUMNS + (piece ^ (row & 7)) * PIECE;
}

// The sixteen rows from `row` on, sixteen columns of step `step`, as first operand of a product.
template <int COLUMNS>
DEVICE void load_a(uint32_t (&a)[4], const bf16* tile, int row, int step) {
  const int lane = warp::lane();
  const int offset = lane_offset<COLUMNS>(lane % 16, lane / 16);
  ldmatrix_x4(a, tile + row * COLUMNS + (offset ^ step * 2 * PIECE));
}

// Rows as columns of the second operand: the first 8 * N_TILES rows, sixteen columns of step `step`.
template <int N_TILES, int COLUMNS>
DEVICE void load_b(uint32_t (&b)[N_TILES][2], const bf16* tile, int step) {
  const int lane = warp::lane();
  const int offset = lane_offset<COLUMNS>(lane / 16 * 8 + lane % 8, lane / 8 % 2);
#pragma unroll
  for (int n = 0; n < N_TILES; n += 2) {
    uint32_t pair[4];
    ldmatrix_x4(pair, tile + n * 8 * COLUMNS + (offset ^ step * 2 * PIECE));
    b[n][0] = pair[0], b[n][1] = pair[1], b[n + 1][0] = pair[2], b[n + 1][1] = pair[3];
  }
}

// Rows as rows of the second operand: sixteen rows of step `step`, the first N_TILES pieces.
template <int N_TILES, int COLUMNS>
DEVICE void load_b_transposed(uint32_t (&b)[N_TILES][2], const bf16* tile, int step) {
  const int lane = warp::lane();
  const int offset = lane_offset<COLUMNS>(lane % 16, lane / 16);
#pragma unroll
  for (int n = 0; n < N_TILES; n += 2) {
    uint32_t pair[4];
    ldmatrix_x4_transposed(pair, tile + step * 16 * COLUMNS + (offset ^ n * PIECE));
    b[n][0] = pair[0], b[n][1] = pair[1], b[n + 1][0] = pair[2], b[n + 1][1] = pair[3];
  }
}

// Results as first operands of the next product: columns 16 * step on.
template <int M_TILES, int N_TILES>
DEVICE void as_a(uint32_t (&a)[M_TILES][4], const float (&results)[M_TILES][N_TILES][4], int step) {
#pragma unroll
  for (int m = 0; m < M_TILES; ++m) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const float(&result)[4] = results[m][2 * step + half];
      a[m][2 * half] = pack(result[0], result[1]);
      a[m][2 * half + 1] = pack(result[2], result[3]);
    }
  }
}

// results += A B^T for the sixteen rows a tile of A from `row` on and the first 8 * N_TILES rows of B.
template <int COLUMNS, int M_TILES, int N_TILES>
DEVICE void multiply_rows(float (&results)[M_TILES][N_TILES][4], const bf16* a_tile, int row, const bf16* b_tile) {
#pragma unroll
  for (int step = 0; step < COLUMNS / 16; ++step) {
    uint32_t a[M_TILES][4], b[N_TILES][2];
#pragma unroll
    for (int m = 0; m < M_TILES; ++m) {
      load_a<COLUMNS>(a[m], a_tile, row + m * 16, step);
    }
    load_b<N_TILES, COLUMNS>(b, b_tile, step);
    mma_tile(results, a, b);
  }
}

// results += A B for A in the fragments of an earlier product and the rows of B in a tile.
template <int COLUMNS, int M_TILES, int N_TILES>
DEVICE void add_product(float (&results)[M_TILES][COLUMNS / 8][4], const float (&factors)[M_TILES][N_TILES][4],
                            const bf16* tile) {
#pragma unroll
  for (int step = 0; step < N_TILES / 2; ++step) {
    uint32_t a[M_TILES][4], b[COLUMNS / 8][2];
    as_a(a, factors, step);
    load_b_transposed<COLUMNS / 8, COLUMNS>(b, tile, step);
    mma_tile(results, a, b);
  }
}

// Writes a piece, or without alignment those of its elements that there are columns for.
DEVICE void store_piece(bf16* to, const Vector<bf16, PIECE>& piece, int columns, bool aligned) {
  if (aligned) {
    store(to, piece);
  } else {
#pragma unroll
    for (int i = 0; i < PIECE; ++i) {
      if (i < columns) {
        to[i] = piece[i];
      }
    }
  }
}

// Writes a warp's results by way of the warp's rows of a tile, a piece at a time; nobody else uses those rows.
// `row` is the warp's first row of the tile and of `to`, which has `rows` rows and `columns` columns.
template <int COLUMNS, int M_TILES>
DEVICE void store_results(Matrix<bf16> to, bf16* tile, const float (&results)[M_TILES][COLUMNS / 8][4], int row,
                          int rows, int columns, bool aligned) {
  constexpr int PIECES = COLUMNS / PIECE;
  const int lane = warp::lane();
  warp::sync();
#pragma unroll
  for (int m = 0; m < M_TILES; ++m) {
#pragma unroll
    for (int n = 0; n < PIECES; ++n) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        bf16* piece = piece_at<COLUMNS>(tile, row + m * 16 + half * 8 + lane / 4, n);
        const Vector<uint32_t, 1> two = {pack(results[m][n][2 * half], results[m][n][2 * half + 1])};
        store(reinterpret_cast<uint32_t*>(piece + lane % 4 * 2), two);
      }
    }
  }
  warp::sync();
  for (int i = lane; i < M_TILES * 16 * PIECES; i += 32) {
    const int at = row + i / PIECES, piece = i % PIECES;
    if (at < rows && piece * PIECE < columns) {
      store_piece(to.first + int64_t(at) * to.stride + piece * PIECE, load<PIECE>(piece_at<COLUMNS>(tile, at, piece)),
                  columns - piece * PIECE, aligned);
    }
  }
}

// Writes one value a row of a warp's results, where the four threads of a row have the same.
template <int M_TILES>
DEVICE void store_row_values(float* to, const float (&values)[M_TILES][2], int row, int rows) {
#pragma unroll
  for (int m = 0; m < M_TILES; ++m) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int at = row + m * 16 + half * 8 + warp::lane() / 4;
      if (warp::lane() % 4 == 0 && at < rows) {
        to[at] = values[m][half];
      }
    }
  }
}

}  // namespace attention
