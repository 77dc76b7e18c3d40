// Products of warpgroups as the emulator keeps them: done when they are waited for, on sums that nobody sees until
// then.
#pragma once
#include "machine.h"
#include <map>
#include <vector>

namespace emulator {

// One lane's products.
struct TileProducts {
  struct Recorded {
    TileProduct product;
    uint32_t a_registers[4];
    uint32_t group;
    Where where;
  };
  std::vector<Recorded> under_way;
  std::map<float*, std::vector<float>> hidden;  // sums under way, by where they will be seen
  uint32_t groups = 0;                          // committed
  bool fenced = false;                          // whether sums may be handed over
  std::vector<uint32_t> times;                  // of the tensor cores for this warp, by group
};

}  // namespace emulator
