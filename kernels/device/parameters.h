// What headers of parameter structs need; plain C, read by the device compiler, the host compiler and bindgen.
#pragma once
#include <stdint.h>

// A pointer to device memory: typed for kernels, an address for the host (compiled with SARGENT_HOST).
#ifdef SARGENT_HOST
#define DEVICE_POINTER(T) uint64_t
#else
#define DEVICE_POINTER(T) T*
struct bf16;
#endif

// What the host tells a card of a tensor whose tiles are copied (tma.cuh); opaque, made by the driver.
typedef struct TensorMap {
  uint64_t words[16];
} __attribute__((aligned(64))) TensorMap;
