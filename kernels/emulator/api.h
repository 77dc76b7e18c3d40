// What the host calls: device memory and launches.
#pragma once
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

// A kernel of the table that the build generates; the table ends with a null symbol.
typedef struct sargent_emulator_entry {
  const char* symbol;
  void (*kernel)(const void* parameters);
  void (*checked_kernel)(const void* parameters);  // null where it was not built
} sargent_emulator_entry;

extern const sargent_emulator_entry sargent_emulator_table[];

// From now on kernels of `table`, which must stay, are launched instead of those of the same symbols.
void sargent_emulator_override(const sargent_emulator_entry* table);

// Device memory between pages that must not be touched, every byte 0xFF: NaN in bf16 and f32. Null if there is none.
void* sargent_emulator_allocate(size_t bytes);
void sargent_emulator_release(void* memory, size_t bytes);

typedef struct sargent_emulator_launch_shape {
  uint32_t grid[3];
  uint32_t threads;
  uint32_t shared_bytes;
  uint32_t checked;  // whether races and undefined behaviour are looked for
  uint64_t seed;  // of the order in which warps run
} sargent_emulator_launch_shape;

// Runs a kernel to its end. Returns 0, or 1 with what went wrong in `message`.
int sargent_emulator_launch(const char* symbol, const sargent_emulator_launch_shape* shape, const void* parameters,
                            char* message, size_t message_bytes);

// Cycles that loads and stores of matrices lost to bank conflicts, in the calling thread's latest launch.
uint64_t sargent_emulator_bank_conflicts();

// A tensor in device memory and the tile of it that is copied, as cuTensorMapEncodeTiled takes them: sizes and the tile
// in elements, innermost first, strides in bytes of all dimensions but the innermost.
typedef struct sargent_emulator_tensor {
  void* address;
  uint64_t sizes[5];
  uint64_t strides[4];
  uint32_t tile[5];
  uint32_t dimensions;
  uint32_t element_bytes;
  uint32_t swizzle;  // 0 none, 1 within 32 bytes, 2 within 64, 3 within 128
} sargent_emulator_tensor;

// Writes the TensorMap (128 bytes) of a tensor. Returns 0, or 1 with the reason in `message`.
int sargent_emulator_tensor_map(void* map, const sargent_emulator_tensor* tensor, char* message,
                                size_t message_bytes);

#ifdef __cplusplus
}
#endif
