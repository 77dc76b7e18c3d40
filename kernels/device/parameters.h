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
