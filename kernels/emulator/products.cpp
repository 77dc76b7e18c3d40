#include "fragments.h"

namespace emulator {

struct Product {
  float* sums;
  const uint32_t* a;
  const uint32_t* b;
};

namespace {

constexpr int LANES = 32, GROUPS = 8, QUADS = 4, DEPTH = 16;
constexpr int MOST_M = 16, MOST_N = 32;  // tiles of one product

// The four sums of a lane in one tile: row g at columns 2 t, 2 t + 1, then row g + 8 there.
typedef float Sums __attribute__((vector_size(16)));
// Those of two tiles side by side.
typedef float Pair __attribute__((vector_size(32)));

// What sums are made of: for a tile, g (or t) and k the factors of a lane's sums, side by side as the sums are.
struct Factors {
  Pair a[MOST_M][GROUPS][DEPTH];
  Sums b[QUADS][DEPTH][MOST_N];
};

__thread Factors factors;

float low(uint32_t both) { return float_of_bf16(uint16_t(both)); }
float high(uint32_t both) { return float_of_bf16(uint16_t(both >> 16)); }

void set(Pair& to, float upper, float lower) { to = Pair{upper, upper, lower, lower, upper, upper, lower, lower}; }

void spread_a(Product* const* lanes, int m_tiles) {
  for (int lane = 0; lane < LANES; ++lane) {
    const int group = lane / 4, k = lane % 4 * 2;
    for (int m = 0; m < m_tiles; ++m) {
      const uint32_t* a = lanes[lane]->a + m * 4;
      Pair* to = factors.a[m][group];
      for (int half = 0; half < 2; ++half) {
        const uint32_t upper = a[half * 2], lower = a[half * 2 + 1];
        set(to[half * 8 + k], low(upper), low(lower));
        set(to[half * 8 + k + 1], high(upper), high(lower));
      }
    }
  }
}

void spread_b(Product* const* lanes, int n_tiles) {
  for (int lane = 0; lane < LANES; ++lane) {
    const int column = lane / 4, k = lane % 4 * 2, at = column % 2;
    for (int n = 0; n < n_tiles; ++n) {
      const uint32_t* b = lanes[lane]->b + n * 2;
      for (int half = 0; half < 2; ++half) {
        Sums& first = factors.b[column / 2][half * 8 + k][n];
        Sums& second = factors.b[column / 2][half * 8 + k + 1][n];
        first[at] = first[at + 2] = low(b[half]);
        second[at] = second[at + 2] = high(b[half]);
      }
    }
  }
}

// Adds products to COUNT tiles of a lane, or to as many pairs of tiles, side by side. Lanes' sums lie anywhere.
template <int COUNT, typename Wide>
__attribute__((always_inline)) inline void add_products(float* sums, const Pair* a, const Sums (*b)[MOST_N], int n) {
  constexpr int TILES = sizeof(Wide) / sizeof(Sums);
  Wide total[COUNT], factor, factors;
#pragma GCC unroll 8
  for (int i = 0; i < COUNT; ++i) memcpy(&total[i], sums + (n + i * TILES) * 4, sizeof(Wide));
  for (int k = 0; k < DEPTH; ++k) {
    memcpy(&factor, &a[k], sizeof factor);
#pragma GCC unroll 8
    for (int i = 0; i < COUNT; ++i) {
      memcpy(&factors, &b[k][n + i * TILES], sizeof factors);
      total[i] += factor * factors;
    }
  }
#pragma GCC unroll 8
  for (int i = 0; i < COUNT; ++i) memcpy(sums + (n + i * TILES) * 4, &total[i], sizeof(Wide));
}

__attribute__((always_inline)) inline void multiply(Product* const* lanes, int m_tiles, int n_tiles) {
  for (int lane = 0; lane < LANES; ++lane) {
    const Sums(*b)[MOST_N] = factors.b[lane % 4];
    for (int m = 0; m < m_tiles; ++m) {
      const Pair* a = factors.a[m][lane / 4];
      float* sums = lanes[lane]->sums + m * n_tiles * 4;
      int n = 0;
      for (; n + 16 <= n_tiles; n += 16) add_products<8, Pair>(sums, a, b, n);
      for (; n + 8 <= n_tiles; n += 8) add_products<4, Pair>(sums, a, b, n);
      for (; n + 2 <= n_tiles; n += 2) add_products<1, Pair>(sums, a, b, n);
      if (n < n_tiles) add_products<1, Sums>(sums, a, b, n);
    }
  }
}

// c = a b for whole matrices, four rows at a time to keep as many sums under way.
__attribute__((always_inline)) inline void multiply(Row* c, const float (*a)[DEPTH], const Row* b) {
  for (int row = 0; row < 16; row += 4) {
    Row sum0 = {}, sum1 = {}, sum2 = {}, sum3 = {};
    for (int k = 0; k < DEPTH; ++k) {
      sum0 += a[row][k] * b[k];
      sum1 += a[row + 1][k] * b[k];
      sum2 += a[row + 2][k] * b[k];
      sum3 += a[row + 3][k] * b[k];
    }
    c[row] = sum0, c[row + 1] = sum1, c[row + 2] = sum2, c[row + 3] = sum3;
  }
}

// Both once for processors with AVX2 and once for others.
#define WITH_AVX2 __attribute__((target("avx2,fma")))
WITH_AVX2 void multiply_avx2(Product* const* lanes, int m_tiles, int n_tiles) { multiply(lanes, m_tiles, n_tiles); }
void multiply_plain(Product* const* lanes, int m_tiles, int n_tiles) { multiply(lanes, m_tiles, n_tiles); }
WITH_AVX2 void multiply_rows_avx2(Row* c, const float (*a)[DEPTH], const Row* b) { multiply(c, a, b); }
void multiply_rows_plain(Row* c, const float (*a)[DEPTH], const Row* b) { multiply(c, a, b); }

const bool has_avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");

}  // namespace

void multiply_rows(Row* c, const float (*a)[DEPTH], const Row* b) {
  has_avx2 ? multiply_rows_avx2(c, a, b) : multiply_rows_plain(c, a, b);
}

void multiply_fragments(Product* const* lanes, int m_tiles, int n_tiles) {
  spread_a(lanes, m_tiles);
  spread_b(lanes, n_tiles);
  has_avx2 ? multiply_avx2(lanes, m_tiles, n_tiles) : multiply_plain(lanes, m_tiles, n_tiles);
}

}  // namespace emulator
