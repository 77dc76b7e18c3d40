// Parameters of AdamW in its three forms and of the moving average.
//
// All work on flat buffers of whole cache lines: every one begins at a multiple of 64 bytes, and `elements` is a
// multiple of sixteen (of 256 where moments have blocks).
#pragma once
#include "device/parameters.h"
#include "step_state.h"

enum AdamWShape {
  ADAMW_THREADS = 256,
  ADAMW_ELEMENTS_A_THREAD = 8,
  ADAMW_BLOCK = 256,           // elements that share a scale
  ADAMW_BLOCKS_A_WARP = 4,
};

// What stays fixed for a run.
typedef struct AdamWDecay {
  double weight_decay;
  float beta2;
  float fresh1;                // 1 - beta1, in f64 before it was rounded
  float fresh2;                // 1 - beta2, likewise
  float epsilon;
} AdamWDecay;

typedef struct AdamWParams {
  AdamWDecay decay;
  DEVICE_POINTER(const StepHeader) state;
  DEVICE_POINTER(const float) gradients;
  DEVICE_POINTER(float) parameters;
  DEVICE_POINTER(float) moment1;
  DEVICE_POINTER(float) moment2;
  DEVICE_POINTER(bf16) working;  // the parameters in bf16; null: not written
  DEVICE_POINTER(bf16) rest;     // what that leaves of them; null: not written
  uint64_t elements;
} AdamWParams;

typedef struct AdamWBf16Params {
  AdamWDecay decay;
  DEVICE_POINTER(const StepHeader) state;
  DEVICE_POINTER(const float) gradients;
  DEVICE_POINTER(bf16) parameters;
  DEVICE_POINTER(bf16) moment1;
  DEVICE_POINTER(bf16) moment2;
  uint64_t elements;
} AdamWBf16Params;

typedef struct AdamWBlock8Params {
  AdamWDecay decay;
  DEVICE_POINTER(const StepHeader) state;
  DEVICE_POINTER(const float) gradients;
  DEVICE_POINTER(float) parameters;
  DEVICE_POINTER(uint8_t) codes1;
  DEVICE_POINTER(float) scales1;
  DEVICE_POINTER(uint8_t) codes2;
  DEVICE_POINTER(float) scales2;
  DEVICE_POINTER(bf16) working;
  uint64_t elements;
} AdamWBlock8Params;

// average -= (1 - decay) (average - parameters).
typedef struct MovingAverageParams {
  DEVICE_POINTER(const StepHeader) state;
  DEVICE_POINTER(const float) parameters;
  DEVICE_POINTER(float) average;
  uint64_t elements;
} MovingAverageParams;

typedef struct MovingAverageBf16Params {
  DEVICE_POINTER(const StepHeader) state;
  DEVICE_POINTER(const bf16) parameters;
  DEVICE_POINTER(float) average;
  uint64_t elements;
} MovingAverageBf16Params;
