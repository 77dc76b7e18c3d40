// Fibres: stacks that take turns on one host thread (x86-64, System V).
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <vector>

// Saves the callee-saved registers and the stack pointer to `*from`, and goes on where `to` was saved.
extern "C" void sargent_switch_fibre(void** from, void* to);

namespace emulator {

// Stacks to be used again; the one given back last is given out first, while it is still in the cache. All lie in one
// stretch of memory.
class Stacks {
 public:
  Stacks();
  ~Stacks();
  // The top of a stack on which a first switch enters `entry`.
  void* take(void (*entry)());
  void give_back(void* top);
  // Makes every stack free again.
  void reclaim();

  uintptr_t start() const { return reinterpret_cast<uintptr_t>(start_); }
  size_t bytes() const;

 private:
  char* top_of(int stack) const;

  char* start_;
  int used_ = 0;  // stacks given out so far
  std::vector<char*> free_;
};

}  // namespace emulator
