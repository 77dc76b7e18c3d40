#include "fragments.h"

namespace emulator {

struct Product {
  float* sums;
  const uint32_t* a;
  const uint32_t* b;
};

// Four rows at a time, to keep as many sums under way.
__attribute__((target_clones("arch=haswell", "default"))) void multiply_rows(Row* c, const float (*a)[16],
                                                                              const Row* b) {
  for (int row = 0; row < 16; row += 4) {
    Row sum0 = {}, sum1 = {}, sum2 = {}, sum3 = {};
    for (int k = 0; k < 16; ++k) {
      sum0 += a[row][k] * b[k];
      sum1 += a[row + 1][k] * b[k];
      sum2 += a[row + 2][k] * b[k];
      sum3 += a[row + 3][k] * b[k];
    }
    c[row] = sum0, c[row + 1] = sum1, c[row + 2] = sum2, c[row + 3] = sum3;
  }
}

void multiply_fragments(Product* const* lanes, int m_tiles, int n_tiles) {
  Row b[32][16];
  for (int n = 0; n < n_tiles; ++n) {
    for (int lane = 0; lane < 32; ++lane) {
      const int column = lane / 4, k = lane % 4 * 2;
      for (int half = 0; half < 2; ++half) {
        const uint32_t both = lanes[lane]->b[n * 2 + half];
        b[n][half * 8 + k][column] = float_of_bf16(uint16_t(both));
        b[n][half * 8 + k + 1][column] = float_of_bf16(uint16_t(both >> 16));
      }
    }
  }
  for (int m = 0; m < m_tiles; ++m) {
    float a[16][16];
    for (int lane = 0; lane < 32; ++lane) a_fragment(a, lane, lanes[lane]->a + m * 4);
    for (int n = 0; n < n_tiles; ++n) {
      Row c[16];
      multiply_rows(c, a, b[n]);
      for (int lane = 0; lane < 32; ++lane) add_fragment(lanes[lane]->sums + (m * n_tiles + n) * 4, c, lane);
    }
  }
}

}  // namespace emulator
