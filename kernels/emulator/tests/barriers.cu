// Words that order threads, and what goes wrong without them.
#include "device/device.cuh"
#include "emulator/tests/test.h"

// y = x reversed within blocks of 256, twice through one array.
// 1: reads before all have written; 2: overwrites before all have read; 3: one warp does not come to the last barrier;
// 4: half a warp comes to another word; 5: lanes leave while the others of their warp wait; 6: too many threads are
// expected at a named barrier.
KERNEL(test_reverse, EmulatorTestParams, 256) {
  SHARED(float, tile, 256);
  const int i = block::thread();
  const uint32_t at = grid::block_x() * 256 + i;
  tile[i] = p.x[at];
  if (p.fault != 1) block::sync();
  const float first = tile[255 - i];
  if (p.fault != 2) block::sync();
  tile[i] = first;
  if (p.fault == 3 && warp::index() == 2) return named_barrier::sync(1, 64);
  if (p.fault == 4) warp::lane() < 16 ? warp::sync() : void(warp::any(true));
  if (p.fault == 5 && warp::lane() == 7) return;
  if (p.fault == 5) warp::sync();
  if (p.fault == 6) named_barrier::sync(2, 512);
  block::sync();
  p.y[at] = tile[i];
}

// Warps 0 to 3 write what warps 4 to 7 read, through two buffers and named barriers.
// 1: the readers do not say that they are done; 2: the writers do not say so.
KERNEL(test_hand_over, EmulatorTestParams, 256) {
  SHARED(float, buffer, 256);
  const int i = block::thread() % 128;
  const bool writes = block::thread() < 128;
  for (int round = 0; round < 8; ++round) {
    const int slot = round % 2;
    if (writes) {
      if (round >= 2 && p.fault != 1) named_barrier::sync(3 + slot, 256);
      buffer[slot * 128 + i] = p.x[round * 128 + i];
      if (p.fault != 2) named_barrier::arrive(1 + slot, 256);
    } else {
      if (p.fault != 2) named_barrier::sync(1 + slot, 256);
      p.y[round * 128 + i] = buffer[slot * 128 + (127 - i)];
      if (round < 6 && p.fault != 1) named_barrier::arrive(3 + slot, 256);
    }
  }
}

// y = neighbours' values exchanged within a warp through shared memory. 1: without warp::sync.
KERNEL(test_neighbours, EmulatorTestParams, 32) {
  SHARED(float, tile, 32);
  tile[warp::lane()] = p.x[warp::lane()];
  if (p.fault != 1) warp::sync();
  p.y[warp::lane()] = tile[warp::lane() ^ 1];
}

// Accesses that are wrong by themselves.
// 1: behind the buffer; 2: before it; 3: a misaligned vector; 4: shared memory that nobody has written; 5: a shift by
// n - 32; 6: an index out of a local array; 7: a recursion without end; 8: a signed overflow; 9: all blocks write one place;
// 10: one block writes what another reads.
KERNEL(test_accesses, EmulatorTestParams, 32) {
  SHARED(float, tile, 32);
  const int i = block::thread();
  float value = 0.0f;
  if (p.fault == 1) value = p.x[p.n + i];
  if (p.fault == 2) p.y[-1 - i] = 0.0f;
  if (p.fault == 3) value = load<4>(p.x + 1)[0];
  if (p.fault == 4) value = tile[i];
  if (p.fault == 5) value = float(1 << (p.n - 32 + i));
  if (p.fault == 6) {
    const int some[4] = {1, 2, 3, 4};
    value = float(some[p.n / 32 + i]);
  }
  if (p.fault == 7) {
    struct Depth {
      DEVICE static int of(volatile int* outer, int left) {
        volatile int here[256];
        here[left % 256] = left + *outer;
        return left < 0 ? here[0] : of(here, left + 1) + here[1];
      }
    };
    volatile int start = 0;
    value = float(Depth::of(&start, 0));
  }
  if (p.fault == 8) value = float(int(p.n) + 0x7FFFFFFF);
  if (p.fault == 9) p.y[0] = 1.0f;
  if (p.fault == 10) value = p.y[(grid::block_x() + 1) % grid::blocks_x() * 32 + i];
  p.y[grid::block_x() * 32 + i] = value;
}
