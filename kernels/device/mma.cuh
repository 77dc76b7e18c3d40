// Products of small matrices on tensor cores: bf16 operands, f32 sums (mma.sync, sm_80 and up).
//
// In a product of 16 x 8 x 16 with g = lane / 4 and t = lane % 4, a lane holds
//   A: registers 0..3 = rows (g, g + 8, g, g + 8), columns 2 t, 2 t + 1 of the (first, first, second, second) eight
//   B: registers 0..1 = rows 2 t, 2 t + 1 of the (first, second) eight, column g
//   C: sums 0..3 = rows (g, g, g + 8, g + 8), columns (2 t, 2 t + 1, 2 t, 2 t + 1)
// which is how ldmatrix loads them.
#pragma once

namespace mma {

// The row within 16 and the column within 8 of sum `i` of this lane.
DEVICE int row(int i) { return warp::lane() / 4 + i / 2 * 8; }
DEVICE int column(int i) { return warp::lane() % 4 * 2 + i % 2; }

}  // namespace mma

#ifndef __CUDACC__
namespace emulator {
struct Product {
  float* sums;
  const uint32_t* a;
  const uint32_t* b;
};
template <int M_TILES, int N_TILES>
inline void multiply_lanes(void* const* lanes) {
  multiply_fragments(reinterpret_cast<Product* const*>(lanes), M_TILES, N_TILES);
}
}  // namespace emulator
#endif

// c += a b for M_TILES x N_TILES products that share operands: rows 16 m on, columns 8 n on.
template <int M_TILES, int N_TILES>
DEVICE void mma_tile(float (&c)[M_TILES][N_TILES][4], const uint32_t (&a)[M_TILES][4],
                     const uint32_t (&b)[N_TILES][2], WHERE) {
#ifdef __CUDACC__
#pragma unroll
  for (int m = 0; m < M_TILES; ++m) {
#pragma unroll
    for (int n = 0; n < N_TILES; ++n) {
      asm volatile(
          "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
          "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
          : "+f"(c[m][n][0]), "+f"(c[m][n][1]), "+f"(c[m][n][2]), "+f"(c[m][n][3])
          : "r"(a[m][0]), "r"(a[m][1]), "r"(a[m][2]), "r"(a[m][3]), "r"(b[n][0]), "r"(b[n][1]));
    }
  }
#else
  static_assert(M_TILES <= 16 && N_TILES <= 32, "more than the emulator has room for");
  emulator::Product product{&c[0][0][0], &a[0][0], &b[0][0]};
  emulator::warp_operation(emulator::multiply_lanes<M_TILES, N_TILES>, &product, "mma_tile", where);
#endif
}

// c += a b for one product of 16 x 8 x 16.
DEVICE void mma_m16n8k16(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], WHERE) {
  mma_tile<1, 1>(reinterpret_cast<float(&)[1][1][4]>(c), reinterpret_cast<const uint32_t(&)[1][4]>(a),
                 reinterpret_cast<const uint32_t(&)[1][2]>(b), AT_WHERE);
}
