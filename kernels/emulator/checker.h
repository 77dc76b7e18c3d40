// Races: every access of a checked launch against every other, whatever the order in which they happened to come.
//
// Kernels of the checked variant are compiled so that every access calls one of the hooks in hooks.cpp; words that
// access memory on their own say so here. Stacks of fibres are private and left out.
#pragma once
#include "clocks.h"
#include "machine.h"
#include "shadow.h"
#include <string>

namespace emulator {

class Machine;

class Checker {
 public:
  void begin_launch(uintptr_t shared, size_t shared_bytes, uintptr_t stacks, size_t stack_bytes);
  void begin_block(uint32_t block, int threads);

  Clocks& clocks() { return clocks_; }

  // `who` accesses memory: a thread in code at `code`, or somebody on behalf of a word at `where`.
  void access(int who, const void* address, size_t bytes, bool writes, const void* code);
  void access(int who, const void* address, size_t bytes, bool writes, Where where);

 private:
  void access(const Access& access, const void* address, size_t bytes);
  Site site_of(Where where);
  std::string text(Site site) const;
  std::string text(int who) const;
  [[noreturn]] void report(const Race& race, const Access& access, size_t bytes);

  Clocks clocks_;
  Shadow shadow_;
  uintptr_t stacks_ = 0;
  size_t stack_bytes_ = 0;
  std::vector<Where> places_;
};

// Notes accesses of the running thread, if its launch is checked.
void note_access(const void* address, size_t bytes, bool writes, const void* code);

// Whether hooks note accesses: not while a word works on behalf of others.
extern __thread bool noting;

}  // namespace emulator
