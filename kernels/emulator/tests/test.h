// The one argument of the kernels that test the emulator.
#pragma once
#include "device/parameters.h"

typedef struct EmulatorTestParams {
  DEVICE_POINTER(float) x;
  DEVICE_POINTER(float) y;
  DEVICE_POINTER(bf16) a;
  DEVICE_POINTER(bf16) b;
  uint32_t n;
  uint32_t fault;  // 0: none; else what the kernel does wrong, as each says
  uint32_t bytes, step;  // of tiles
  uint32_t reserved[4];
  TensorMap maps[3];
} EmulatorTestParams;
