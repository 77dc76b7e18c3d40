#include "machine.h"

namespace emulator {

struct Product {
  float* sums;
  const uint32_t* a;
  const uint32_t* b;
};

namespace {

constexpr int ROWS = 16, DEPTH = 16, COLUMNS = 8;

typedef float Row __attribute__((vector_size(4 * COLUMNS)));

// c = a b for 16 x 16 times 16 x 8, four rows at a time to keep as many sums under way.
__attribute__((target_clones("arch=haswell", "default"))) void multiply(Row* c, const float (*a)[DEPTH], const Row* b) {
  for (int row = 0; row < ROWS; row += 4) {
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

float low(uint32_t both) { return float_of_bf16(uint16_t(both)); }
float high(uint32_t both) { return float_of_bf16(uint16_t(both >> 16)); }

}  // namespace

void multiply_fragments(Product* const* lanes, int m_tiles, int n_tiles) {
  Row b[32][DEPTH];
  for (int n = 0; n < n_tiles; ++n) {
    for (int lane = 0; lane < 32; ++lane) {
      const int column = lane / 4, k = lane % 4 * 2;
      for (int half = 0; half < 2; ++half) {
        const uint32_t both = lanes[lane]->b[n * 2 + half];
        b[n][half * 8 + k][column] = low(both);
        b[n][half * 8 + k + 1][column] = high(both);
      }
    }
  }
  for (int m = 0; m < m_tiles; ++m) {
    float a[ROWS][DEPTH];
    for (int lane = 0; lane < 32; ++lane) {
      const int row = lane / 4, k = lane % 4 * 2;
      for (int part = 0; part < 4; ++part) {
        const uint32_t both = lanes[lane]->a[m * 4 + part];
        a[row + part % 2 * 8][k + part / 2 * 8] = low(both);
        a[row + part % 2 * 8][k + part / 2 * 8 + 1] = high(both);
      }
    }
    for (int n = 0; n < n_tiles; ++n) {
      Row c[ROWS];
      multiply(c, a, b[n]);
      for (int lane = 0; lane < 32; ++lane) {
        const int row = lane / 4, column = lane % 4 * 2;
        float* sums = lanes[lane]->sums + (m * n_tiles + n) * 4;
        sums[0] += c[row][column];
        sums[1] += c[row][column + 1];
        sums[2] += c[row + 8][column];
        sums[3] += c[row + 8][column + 1];
      }
    }
  }
}

}  // namespace emulator
