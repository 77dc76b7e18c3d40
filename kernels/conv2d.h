// Parameters of the convolution of channels-last pictures.
#pragma once
#include "device/parameters.h"
#include "group_norm.h"

// What can be read and written sixteen bytes at a time.
enum Conv2dVectors {
  CONV2D_VECTOR_X = 1,
  CONV2D_VECTOR_WEIGHT = 2,
  CONV2D_VECTOR_Y = 4,
};

// Y (+)= W * enlarge(norm(X)) + b. A block of the grid's x is a tile of one picture's output pixels and of output
// channels, these first; the grid's y is the picture.
typedef struct Conv2dParams {
  DEVICE_POINTER(const void) x;        // [b, height, width, channels], bf16 or f32
  DEVICE_POINTER(const bf16) weight;   // [outputs, kernel_rows, kernel_columns, channels]
  DEVICE_POINTER(const bf16) bias;     // [outputs]
  DEVICE_POINTER(void) y;              // [b, output pixels, outputs], as x
  NormParams norm;                     // of the kernels with a norm
  uint32_t height;
  uint32_t width;
  uint32_t channels;
  uint32_t outputs;
  uint32_t out_width;
  uint32_t out_area;                   // output pixels of a picture
  uint32_t kernel_rows;
  uint32_t kernel_columns;
  uint32_t stride;
  uint32_t top;                        // rows and columns of zeros before the (enlarged) picture
  uint32_t left;
  uint32_t enlargement;                // 1: every pixel becomes four; 0: not
  uint32_t tiles_n;
  uint32_t accumulate;                 // whether Y is added to what is there
  uint32_t vectors;                    // Conv2dVectors
  uint32_t reserved;
} Conv2dParams;
