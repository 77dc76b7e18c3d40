// Fibres: stacks that take turns on one host thread (x86-64, System V).
#pragma once
#include <stddef.h>
#include <vector>

// Saves the callee-saved registers and the stack pointer to `*from`, and goes on where `to` was saved.
extern "C" void sargent_switch_fibre(void** from, void* to);

namespace emulator {

// Stacks to be used again; the one given back last is given out first, while it is still in the cache.
class Stacks {
 public:
  ~Stacks();
  // The top of a stack on which a first switch enters `entry`.
  void* take(void (*entry)());
  void give_back(void* top);
  // Makes every stack free again.
  void reclaim();

 private:
  std::vector<char*> all_;
  std::vector<char*> free_;
};

}  // namespace emulator
