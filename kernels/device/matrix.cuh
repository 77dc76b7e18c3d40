// 8 x 8 matrices of bf16 between shared memory and registers (ldmatrix; stmatrix, sm_90), and where to put them.
//
// Lane l of matrix i gets elements 2 (l % 4) and 2 (l % 4) + 1 of row l / 4 in register i: the layout of mma's
// operands. The transposed forms give it rows 2 (l % 4) and 2 (l % 4) + 1 of column l / 4. Lanes 8 i to 8 i + 7 pass
// the addresses of the rows of matrix i, sixteen bytes each, aligned to sixteen. Ordered as
// ordinary accesses.
#pragma once

#ifndef __CUDACC__
namespace emulator {
struct LoadMatrices {
  uint32_t* registers;
  const void* row;
};
struct StoreMatrices {
  const uint32_t* registers;
  void* row;
};
template <int COUNT, bool TRANSPOSED>
inline void load_matrices(void* const* lanes) {
  for (int matrix = 0; matrix < COUNT; ++matrix) {
    uint16_t values[8][8];
    const void* rows[8];
    for (int row = 0; row < 8; ++row) {
      rows[row] = static_cast<LoadMatrices*>(lanes[8 * matrix + row])->row;
      __builtin_memcpy(values[row], rows[row], 16);
    }
    count_bank_conflicts(rows);
    for (int lane = 0; lane < 32; ++lane) {
      const int major = lane / 4, minor = 2 * (lane % 4);
      const uint16_t low = TRANSPOSED ? values[minor][major] : values[major][minor];
      const uint16_t high = TRANSPOSED ? values[minor + 1][major] : values[major][minor + 1];
      static_cast<LoadMatrices*>(lanes[lane])->registers[matrix] = uint32_t(low) | uint32_t(high) << 16;
    }
  }
}
template <int COUNT, bool TRANSPOSED>
inline void ldmatrix(uint32_t* registers, const void* row, const char* word, Where where) {
  expect_shared_aligned(row, 16, where);
  if ((current->index & 31) < 8 * COUNT) note_read(row, 16, where);
  LoadMatrices load{registers, row};
  warp_operation(load_matrices<COUNT, TRANSPOSED>, &load, word, where);
}
template <int COUNT, bool TRANSPOSED>
inline void store_matrices(void* const* lanes) {
  for (int matrix = 0; matrix < COUNT; ++matrix) {
    uint16_t values[8][8];
    for (int lane = 0; lane < 32; ++lane) {
      const int major = lane / 4, minor = 2 * (lane % 4);
      const uint32_t both = static_cast<StoreMatrices*>(lanes[lane])->registers[matrix];
      (TRANSPOSED ? values[minor][major] : values[major][minor]) = uint16_t(both);
      (TRANSPOSED ? values[minor + 1][major] : values[major][minor + 1]) = uint16_t(both >> 16);
    }
    const void* rows[8];
    for (int row = 0; row < 8; ++row) {
      void* to = static_cast<StoreMatrices*>(lanes[8 * matrix + row])->row;
      __builtin_memcpy(to, values[row], 16);
      rows[row] = to;
    }
    count_bank_conflicts(rows);
  }
}
template <int COUNT, bool TRANSPOSED>
inline void stmatrix(void* row, const uint32_t* registers, const char* word, Where where) {
  expect_shared_aligned(row, 16, where);
  if ((current->index & 31) < 8 * COUNT) note_write(row, 16, where);
  StoreMatrices store{registers, row};
  warp_operation(store_matrices<COUNT, TRANSPOSED>, &store, word, where);
}
}  // namespace emulator
#endif

DEVICE void ldmatrix_x4(uint32_t (&to)[4], const void* row, WHERE) {
#ifdef __CUDACC__
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
               : "r"(shared_address(row))
               : "memory");
#else
  emulator::ldmatrix<4, false>(to, row, "ldmatrix_x4", where);
#endif
}

DEVICE void ldmatrix_x4_transposed(uint32_t (&to)[4], const void* row, WHERE) {
#ifdef __CUDACC__
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
               : "r"(shared_address(row))
               : "memory");
#else
  emulator::ldmatrix<4, true>(to, row, "ldmatrix_x4_transposed", where);
#endif
}

DEVICE void ldmatrix_x2(uint32_t (&to)[2], const void* row, WHERE) {
#ifdef __CUDACC__
  asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0, %1}, [%2];"
               : "=r"(to[0]), "=r"(to[1])
               : "r"(shared_address(row))
               : "memory");
#else
  emulator::ldmatrix<2, false>(to, row, "ldmatrix_x2", where);
#endif
}

DEVICE void ldmatrix_x2_transposed(uint32_t (&to)[2], const void* row, WHERE) {
#ifdef __CUDACC__
  asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0, %1}, [%2];"
               : "=r"(to[0]), "=r"(to[1])
               : "r"(shared_address(row))
               : "memory");
#else
  emulator::ldmatrix<2, true>(to, row, "ldmatrix_x2_transposed", where);
#endif
}

DEVICE void stmatrix_x4(void* row, const uint32_t (&from)[4], WHERE) {
#ifdef __CUDACC__
  asm volatile("stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(shared_address(row)),
               "r"(from[0]), "r"(from[1]), "r"(from[2]), "r"(from[3])
               : "memory");
#else
  emulator::stmatrix<4, false>(row, from, "stmatrix_x4", where);
#endif
}

DEVICE void stmatrix_x4_transposed(void* row, const uint32_t (&from)[4], WHERE) {
#ifdef __CUDACC__
  asm volatile("stmatrix.sync.aligned.m8n8.x4.trans.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(shared_address(row)),
               "r"(from[0]), "r"(from[1]), "r"(from[2]), "r"(from[3])
               : "memory");
#else
  emulator::stmatrix<4, true>(row, from, "stmatrix_x4_transposed", where);
#endif
}

DEVICE void stmatrix_x2(void* row, const uint32_t (&from)[2], WHERE) {
#ifdef __CUDACC__
  asm volatile("stmatrix.sync.aligned.m8n8.x2.shared.b16 [%0], {%1, %2};" ::"r"(shared_address(row)),
               "r"(from[0]), "r"(from[1])
               : "memory");
#else
  emulator::stmatrix<2, false>(row, from, "stmatrix_x2", where);
#endif
}

DEVICE void stmatrix_x2_transposed(void* row, const uint32_t (&from)[2], WHERE) {
#ifdef __CUDACC__
  asm volatile("stmatrix.sync.aligned.m8n8.x2.trans.shared.b16 [%0], {%1, %2};" ::"r"(shared_address(row)),
               "r"(from[0]), "r"(from[1])
               : "memory");
#else
  emulator::stmatrix<2, true>(row, from, "stmatrix_x2_transposed", where);
#endif
}

DEVICE void stmatrix_x1(void* row, const uint32_t (&from)[1], WHERE) {
#ifdef __CUDACC__
  asm volatile("stmatrix.sync.aligned.m8n8.x1.shared.b16 [%0], {%1};" ::"r"(shared_address(row)),
               "r"(from[0])
               : "memory");
#else
  emulator::stmatrix<1, false>(row, from, "stmatrix_x1", where);
#endif
}

DEVICE void stmatrix_x1_transposed(void* row, const uint32_t (&from)[1], WHERE) {
#ifdef __CUDACC__
  asm volatile("stmatrix.sync.aligned.m8n8.x1.trans.shared.b16 [%0], {%1};" ::"r"(shared_address(row)),
               "r"(from[0])
               : "memory");
#else
  emulator::stmatrix<1, true>(row, from, "stmatrix_x1_transposed", where);
#endif
}

// The place of chunk `chunk` (sixteen bytes) of row `row` among rows of 64 or 128 bytes, permuted so that neither
// eight rows of one chunk (ldmatrix) nor neighbouring chunks (copies) meet a bank twice. In chunks.
namespace swizzle {
DEVICE int rows_of_64_bytes(int row, int chunk) { return row * 4 + (chunk ^ ((row >> 1) & 3)); }
DEVICE int rows_of_128_bytes(int row, int chunk) { return row * 8 + (chunk ^ (row & 7)); }
}  // namespace swizzle
