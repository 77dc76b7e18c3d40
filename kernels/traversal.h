// How kernels that are bounded by memory spread over a card: what elementwise.cuh and rows.cuh share with the host.
#pragma once

enum {
  ELEMENTWISE_THREADS = 256,
  ELEMENTWISE_BATCH = 4,   // vectors of a thread
  ROW_THREADS = 128,
  ROW_SEGMENT = 512,       // columns of a warp, where a kernel shares rows in pieces
};
