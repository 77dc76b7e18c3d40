// Matrices as lanes hold them, 16 x 16 times 16 x 8 at a time (kernels/device/mma.cuh says which lane holds what).
#pragma once
#include "machine.h"

namespace emulator {

typedef float Row __attribute__((vector_size(32)));  // of B and C: eight columns

// c = a b.
void multiply_rows(Row* c, const float (*a)[16], const Row* b);

// Puts a lane's four registers of A where they belong.
inline void a_fragment(float (*a)[16], int lane, const uint32_t* registers) {
  const int row = lane / 4, k = lane % 4 * 2;
  for (int part = 0; part < 4; ++part) {
    float* to = a[row + part % 2 * 8] + k + part / 2 * 8;
    to[0] = float_of_bf16(uint16_t(registers[part]));
    to[1] = float_of_bf16(uint16_t(registers[part] >> 16));
  }
}

// Adds a lane's four of C.
inline void add_fragment(float* sums, const Row* c, int lane) {
  const int row = lane / 4, column = lane % 4 * 2;
  sums[0] += c[row][column];
  sums[1] += c[row][column + 1];
  sums[2] += c[row + 8][column];
  sums[3] += c[row + 8][column + 1];
}

}  // namespace emulator
