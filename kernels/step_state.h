// What varies from step to step; src/kernels/step_state.rs is the same on the host.
//
// The buffer holds one StepHeader, then one SampleState for each sample of the micro-batch. Kernels read from it what
// a recorded program must not hold, so that one captured graph serves every step.
#pragma once
#include <stdint.h>

typedef struct StepHeader {
  uint32_t seed[2];          // low and high word
  uint32_t step;             // from 1
  uint32_t first_sample;     // position of the micro-batch's first sample among the step's samples
  float learning_rate;
  float bias_correction1;    // 1 - beta1^step
  float bias_correction2;    // 1 - beta2^step
  float sample_weight;       // 1 / samples of the whole step
  float max_gradient_norm;   // 0: no clipping
  float gradient_norm;       // written by the gradient norm kernel
  float clip_factor;         // written by the gradient norm kernel
  float ema_decay;
  uint32_t reserved[4];
} StepHeader;

typedef struct SampleState {
  float sigma;
  float loss_weight;
  float loss;                // written by the loss kernel
  uint32_t reserved;
} SampleState;
