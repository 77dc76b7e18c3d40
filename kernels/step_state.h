// What varies from step to step.
//
// The buffer holds one StepHeader, then one SampleState for each sample of the micro-batch. Kernels read from it what
// a recorded program must not hold, so that one captured graph serves every step.
#pragma once
#include <stdint.h>

// The part of the step state that all samples share.
typedef struct StepHeader {
  uint32_t seed[2];          // Seed of the run, low and high word.
  uint32_t step;             // Optimizer step, from 1.
  uint32_t first_sample;     // Position of the micro-batch's first sample among the step's samples.
  float learning_rate;       // Learning rate of this step.
  float bias_correction1;    // 1 - beta1^step.
  float bias_correction2;    // 1 - beta2^step.
  float sample_weight;       // What the loss of one sample counts for: 1 / samples of the whole step.
  float max_gradient_norm;   // Norm that gradients are clipped to; 0 leaves them alone.
  float gradient_norm;       // Written by the gradient norm kernel: the norm before clipping.
  float clip_factor;         // Written by the gradient norm kernel: what gradients are multiplied by.
  float ema_decay;           // Share of the old average that the moving average keeps.
  float max_gradient_value;  // Size that a gradient's elements are clamped to; 0 leaves them alone.
  uint32_t reserved[3];      // To a multiple of 64 bytes.
} StepHeader;

// One sample's part of the step state.
typedef struct SampleState {
  float sigma;               // Noise level in [0, 1].
  float loss_weight;         // Weight of its loss (1 for the plain flow-matching loss).
  float loss;                // Written by the loss kernel: the sample's weighted loss.
  uint32_t reserved;         // To 16 bytes.
} SampleState;
