#include "fibre.h"
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>

// Ends in a jump instead of a return: the processor's guess of where a return leads would be wrong every time.
asm(R"(
.text
.globl sargent_switch_fibre
.type sargent_switch_fibre, @function
sargent_switch_fibre:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  popq %rcx
  jmpq *%rcx
.size sargent_switch_fibre, .-sargent_switch_fibre
)");

namespace emulator {

namespace {

constexpr size_t STACK = 128 << 10;
// Stacks that start at the same place of their pages would share the cache's sets.
constexpr size_t COLOUR = 320;
constexpr size_t COLOURS = 64;

}  // namespace

Stacks::~Stacks() {
  for (char* stack : all_) munmap(stack, STACK);
}

void* Stacks::take(void (*entry)()) {
  if (free_.empty()) {
    void* stack = mmap(nullptr, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (stack == MAP_FAILED) abort();
    // The lowest page stops a stack that grows too large.
    mprotect(stack, 4096, PROT_NONE);
    char* top = static_cast<char*>(stack) + STACK - all_.size() % COLOURS * COLOUR;
    all_.push_back(static_cast<char*>(stack));
    free_.push_back(top);
  }
  char* top = free_.back();
  free_.pop_back();
  // Six registers, then the entry; at the entry the stack is aligned as after a call.
  uintptr_t* frame = reinterpret_cast<uintptr_t*>(top) - 2;
  *frame = reinterpret_cast<uintptr_t>(entry);
  for (int i = 0; i < 6; ++i) *--frame = 0;
  return frame;
}

void Stacks::give_back(void* top) { free_.push_back(static_cast<char*>(top)); }

void Stacks::reclaim() {
  free_.clear();
  for (size_t i = 0; i < all_.size(); ++i) free_.push_back(all_[i] + STACK - i % COLOURS * COLOUR);
}

}  // namespace emulator
