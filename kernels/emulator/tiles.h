// Copies of tiles as the emulator keeps them.
#pragma once
#include "machine.h"
#include <vector>

namespace emulator {

// A store that reads shared memory when it is waited for.
struct Store {
  struct Piece {
    void* to;
    const void* from;
    uint32_t bytes;
  };
  std::vector<Piece> pieces;
  uint32_t group;
  int agent;
  uint32_t time;
  Where where;
};

// A thread's stores.
struct Stores {
  std::vector<Store> under_way;
  uint32_t groups = 0;  // committed
};

}  // namespace emulator
