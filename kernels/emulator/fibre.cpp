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
// As many threads as a block can have.
constexpr int STACKS = 1024;
// Stacks that start at the same place of their pages would share the cache's sets.
constexpr size_t COLOUR = 320;
constexpr size_t COLOURS = 64;

}  // namespace

Stacks::Stacks() {
  void* memory = mmap(nullptr, bytes(), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) abort();
  start_ = static_cast<char*>(memory);
}

Stacks::~Stacks() { munmap(start_, bytes()); }

size_t Stacks::bytes() const { return STACK * STACKS; }

void* Stacks::take(void (*entry)()) {
  if (free_.empty()) {
    if (used_ == STACKS) abort();
    // The lowest page stops a stack that grows too large.
    mprotect(start_ + STACK * used_, 4096, PROT_NONE);
    free_.push_back(top_of(used_++));
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
  for (int i = 0; i < used_; ++i) free_.push_back(top_of(i));
}

char* Stacks::top_of(int stack) const { return start_ + STACK * (stack + 1) - stack % COLOURS * COLOUR; }

}  // namespace emulator
